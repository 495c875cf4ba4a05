"""What is due: retries published when their delay is over, queued jobs expired, results and objects erased.

Nothing waits in the broker with a countdown. What must happen later stands in one sorted set in Redis
(storage.keys.DUE); this relay looks there about twice a second. Several may run: a lock lets one at a time work,
and every step may be done twice without harm.
"""

import logging
import time

import redis
from kombu import Connection

from errors import InvalidInput, ObjectsUnavailable
from storage.deliveries import Deliveries
from storage.job import Status
from storage.jobs import Due, JobStore
from storage.objects import Objects
from tasks import topology
from tasks.message import without_inputs
from tasks.publisher import Publisher
from tasks.ticket import Outgoing
from tasks.ticking import Ticking

log = logging.getLogger(__name__)

#: Between looks for jobs that are in no queue, and how long a job has waited before it may count as one, seconds.
REAP_S, STUCK_S = 5.0, 15.0
#: Until what could not be done is tried again, milliseconds.
PUT_OFF_MS = 30_000
#: Members worked on in one tick.
LIMIT = 500


class Relay:
    def __init__(self, jobs: JobStore, objects: Objects, publisher: Publisher, deliveries: Deliveries) -> None:
        self._jobs = jobs
        self._objects = objects
        self._publisher = publisher
        self._deliveries = deliveries

    def tick(self) -> int:
        """Do what is due; returns how many members were found."""
        found = self._jobs.due(limit=LIMIT)
        retries = [due for due in found if due.member.startswith("retry:")]
        if retries:
            self._publish(retries)
        for due in found:
            kind, _, id = due.member.partition(":")
            try:
                if kind == "expire":
                    self._expire(due, id)
                elif kind == "erase":
                    self._erase(due, id)
                elif kind == "object":
                    self._objects.delete(id)
                    self._jobs.settle(due)
            except (ObjectsUnavailable, InvalidInput) as error:
                # Others that are due do not wait for this one.
                log.warning("put off", extra={"due": due.member, "reason": error.detail})
                self._jobs.put_off(due, by_ms=PUT_OFF_MS)
        return len(found)

    def _publish(self, retries: list[Due]) -> None:
        released = [(due, id, self._jobs.release(id)) for due in retries for id in [due.member.partition(":")[2]]]
        outgoing = [Outgoing(got[0], id, got[1]) for _, id, got in released if got]
        answers = iter(self._publisher.publish(outgoing) if outgoing else [])
        for due, _, got in released:
            # Out of the set only after the broker has it: a crash publishes again, it never loses.
            if (next(answers) if got else None) is None:
                self._jobs.settle(due)

    def _expire(self, due: Due, id: str) -> None:
        job = self._jobs.get(id)
        if job is None:
            self._jobs.settle(due)
        else:
            self._jobs.expire(job)

    def _erase(self, due: Due, id: str) -> None:
        job = self._jobs.get(id)
        # The record first: a client that retries the job at this moment keeps its inputs, or is told that it is gone.
        if job is not None and self._jobs.erase(job, reason="expired", remains=without_inputs(job.message)) != "kept":
            self._objects.delete_prefix(f"{job.tenant}/jobs/{id}/")
            self._deliveries.forget(id)
        self._jobs.settle(due)


class Reaper:
    """Publishes anew what is queued by its record and in no queue.

    A submit whose gateway died before it published leaves such a job, and so does the embedded transport, which loses
    a message when a worker is killed between taking it and noting that it has. A job whose message still is in
    somebody's hands gets a second one by this, which a claim drops.
    """

    def __init__(self, jobs: JobStore, publisher: Publisher, broker_url: str) -> None:
        self._jobs = jobs
        self._publisher = publisher
        self._broker_url = broker_url

    def reap(self) -> int:
        """Look at every lane; returns how many messages were published."""
        before = self._jobs.now_ms() - round(STUCK_S * 1000)
        overdue = {
            queue: ids
            for queue in self._jobs.queues()
            if (ids := self._jobs.overdue(queue, since_ms=before, limit=LIMIT))
        }
        if not overdue:
            return 0
        with Connection(self._broker_url, connect_timeout=2) as connection:
            empty = {queue: ids for queue, ids in overdue.items() if topology.depth(connection, queue) == 0}
        return sum(self._publish(queue, ids) for queue, ids in empty.items())

    def _publish(self, queue: str, ids: list[str]) -> int:
        jobs = [job for id in ids if (job := self._jobs.get(id)) and job.status is Status.QUEUED]
        # A retry that is due is the relay's; one long overdue was lost with its entry.
        since_ms = self._jobs.now_ms() - round(STUCK_S * 1000)
        stuck = [job for job in jobs if job.not_before_ms < since_ms and job.message]
        for job in stuck:
            self._jobs.release(job.id)
        answers = self._publisher.publish([Outgoing(queue, job.id, job.message) for job in stuck]) if stuck else []
        for job, error in zip(stuck, answers, strict=True):
            if error is None:
                self._jobs.put_again(queue, job.id)
        if stuck:
            log.info("published anew what was in no queue", extra={"queue": queue, "jobs": len(stuck)})
        return len(stuck)


class RelayThread(Ticking):
    """Ticks while it holds the farm's relay lock."""

    def __init__(self, relay: Relay, reaper: Reaper, client: "redis.Redis") -> None:
        super().__init__("relay", client)
        self._relay = relay
        self._reaper = reaper
        self._next_reap_s = 0.0

    def work(self) -> None:
        self._relay.tick()
        if time.monotonic() >= self._next_reap_s:
            self._next_reap_s = time.monotonic() + REAP_S
            self._reaper.reap()
