"""Publishes anew what is queued by its record and in no queue, and gives back what died with its worker.

A queue that was purged leaves such jobs, and a broker that lost its disk; a submit whose gateway died before it
published; the embedded transport, when a worker is killed between taking a message and noting that it has.

A lane is first in, first out. So a job has no message any more where its lane is empty, or where one was claimed that
had been put there later: then the job's own message was passed over, and is gone or in the hands of a worker that does
not get to it. In the latter case it gets a second one, which a claim drops: too many messages do no harm, too few do.
Each job is published at most once for each time that its lane is passed through.
"""

import logging
import time
from collections.abc import Iterator
from typing import NamedTuple

from storage.job import Status
from storage.jobs import Held, JobStore
from storage.workers import Workers
from tasks import topology
from tasks.link import connected
from tasks.publisher import Publisher
from tasks.ticket import Outgoing

log = logging.getLogger(__name__)

#: How long a job has waited before it may count as one without a message, seconds; and how much later one must have
#: been put into its lane that was claimed, which makes up for gateways whose clocks differ.
STUCK_S = 15.0
#: How long ago a running job was claimed whose worker is gone and whose message nobody has, seconds.
ORPHAN_S = 60.0
#: Jobs published together, and how long one look may take, seconds: what is due is not to be kept waiting.
TOGETHER = 500
BUDGET_S = 2.0
#: Records looked at in one go for jobs whose worker is gone: with a million records a round takes an hour and a half.
SLICE = 1000


class Lane(NamedTuple):
    queue: str
    #: What was put there before has no message, milliseconds.
    until_ms: int


class Reaper:
    """Raises what the store, the broker and its client raise when they are away: the next look does it."""

    def __init__(self, jobs: JobStore, publisher: Publisher, broker_url: str, workers: Workers) -> None:
        self._jobs = jobs
        self._publisher = publisher
        self._broker_url = broker_url
        self._workers = workers
        self._cursor = 0

    def reap(self, *, orphans: bool = True) -> int:
        """One look, bounded in time; returns how many messages were published.

        `orphans`: also at a slice of the records, for running jobs whose worker is gone. Not to be asked for before
        the workers had time to give a sign of life.
        """
        deadline = time.monotonic() + BUDGET_S
        count = sum(self.publish(lane, deadline) for lane in self.lanes())
        if orphans:
            self._cursor, held = self._jobs.running(self._cursor, count=SLICE)
            count += self.revive(self.orphans(held))
        return count

    def lanes(self) -> list[Lane]:
        """The lanes in which jobs wait that have no message."""
        before = self._before()
        waiting = [queue for queue in self._jobs.queues() if self._jobs.overdue(queue, since_ms=before, limit=1)]
        if not waiting:
            return []
        connection = connected(self._broker_url)
        try:
            empty = {queue for queue in waiting if topology.depth(connection, queue) == 0}
        finally:
            connection.collect(socket_timeout=0.1)
        margin = round(STUCK_S * 1000)
        return [
            Lane(queue, before if queue in empty else min(before, self._jobs.passed(queue) - margin))
            for queue in waiting
        ]

    def publish(self, lane: Lane, deadline: float = float("inf")) -> int:
        """Publish anew what waits in a lane and has no message; returns how many."""
        count = 0
        while ids := self._jobs.overdue(lane.queue, since_ms=lane.until_ms, limit=TOGETHER):
            done = self._publish(lane.queue, ids)
            count += done
            if done < TOGETHER or time.monotonic() > deadline:
                break
        if count:
            log.info("published anew what was in no queue", extra={"queue": lane.queue, "jobs": count})
        return count

    def _publish(self, queue: str, ids: list[str]) -> int:
        found = dict(zip(ids, self._jobs.get_all(ids), strict=True))
        if gone := [id for id, job in found.items() if job is None]:
            self._jobs.forget_waiting(queue, gone)
        # A retry that is due is the relay's; one long overdue was lost with its entry.
        before = self._before()
        stuck = [
            job.id
            for job in found.values()
            if job and job.status is Status.QUEUED and job.not_before_ms < before and job.message
        ]
        # This also puts them behind those that wait, so that they are not found again at once.
        released = zip(stuck, self._jobs.release_all(stuck), strict=True)
        return self._send([Outgoing(got[0], id, got[1]) for id, got in released if got])

    def sweep(self) -> Iterator[list[Held]]:
        """Every running job whose worker is gone, slice by slice."""
        cursor = 0
        while True:
            cursor, held = self._jobs.running(cursor, count=SLICE)
            yield self.orphans(held)
            if not cursor:
                return

    def orphans(self, held: list[Held]) -> list[Held]:
        before = self._jobs.now_ms() - round(ORPHAN_S * 1000)
        old = [one for one in held if one.started_ms < before]
        known = self._workers.known(sorted({one.worker for one in old}))
        return [one for one in old if one.worker not in known]

    def revive(self, held: list[Held]) -> int:
        """Queue jobs anew whose worker is gone; returns how many."""
        revived = [(one.id, self._jobs.revive(one)) for one in held]
        count = self._send([Outgoing(got[0], id, got[1]) for id, got in revived if got and got[1]])
        if count:
            log.warning("gave back what died with its worker", extra={"jobs": count})
        return count

    def _send(self, outgoing: list[Outgoing]) -> int:
        answers = self._publisher.publish(outgoing) if outgoing else []
        return sum(error is None for error in answers)

    def _before(self) -> int:
        return self._jobs.now_ms() - round(STUCK_S * 1000)
