"""What is due: retries published when their delay is over, queued jobs expired, results and objects erased.

Nothing waits in the broker with a countdown. What must happen later stands in one sorted set in Redis
(storage.keys.DUE); this relay looks there about twice a second. Several may run: a lock lets one at a time work,
and every step may be done twice without harm.
"""

import logging
import sys
import time
from collections.abc import Collection

import redis

from errors import InvalidInput, ObjectsUnavailable, StoreUnavailable
from storage.deliveries import Deliveries
from storage.job import Job, Status
from storage.jobs import Due, JobStore
from storage.objects import Objects
from storage.pins import Pins
from storage.workers import TTL_S
from tasks.message import without_inputs
from tasks.publisher import Publisher
from tasks.reaper import Reaper
from tasks.replaying import Replayer
from tasks.scoring.afterlife import Afterlife
from tasks.ticket import Outgoing
from tasks.ticking import Ticking

log = logging.getLogger(__name__)

#: Between looks for jobs that are in no queue, seconds.
REAP_S = 5.0
#: Between two answers of the store, if it was not away meanwhile, milliseconds at most.
GAP_MS = 5000
#: Until what could not be done is tried again, milliseconds.
PUT_OFF_MS = 30_000
#: Until an upload that a scoring may still read is looked at again, milliseconds.
NEEDED_MS = 600_000
#: Until a retry that the broker did not take is published again, milliseconds.
AGAIN_MS = 2_000
#: Members worked on in one tick, and how long ticks may follow each other without a pause, seconds.
LIMIT, BUSY_S = 500, 2.0


class Relay:
    def __init__(
        self, jobs: JobStore, objects: Objects, publisher: Publisher, deliveries: Deliveries, replayer: Replayer,
        afterlife: Afterlife, *, pins: Pins, max_object_bytes: int = sys.maxsize,
    ) -> None:  # fmt: skip
        self._jobs = jobs
        self._max_object_bytes = max_object_bytes
        self._objects = objects
        self._publisher = publisher
        self._deliveries = deliveries
        self._replayer = replayer
        self._pins = pins
        self._afterlife = afterlife
        self.patience = Patience()

    def tick(self) -> int:
        """Do what is due; returns how many members were found."""
        found = self._jobs.due(limit=LIMIT)
        self.patience.answered(self._jobs.now_ms())
        retries = {due for due in found if due.member.startswith("retry:")}
        if retries:
            self._publish(retries)
        for due in found:
            if due in retries:
                continue
            try:
                self._do(due)
            except StoreUnavailable:
                raise
            except (ObjectsUnavailable, InvalidInput) as error:
                # Others that are due do not wait for this one.
                log.warning("put off", extra={"due": due.member, "reason": error.detail})
                self._jobs.put_off(due, by_ms=PUT_OFF_MS)
            # A mistake of ours about one member keeps none of the others from being done.
            except Exception:
                log.exception("put off: it cannot be done", extra={"due": due.member})
                self._jobs.put_off(due, by_ms=PUT_OFF_MS)
        return len(found)

    def _do(self, due: Due) -> None:
        kind, _, id = due.member.partition(":")
        if kind == "expire":
            self._expire(due, id)
        elif kind == "erase":
            self._erase(due, id)
        elif kind == "replay":
            self._replayer.step(due, id)
        elif kind == "tidy":
            self._tidy(due, id)
        elif kind == "doubt":
            self._judge(due)
        elif kind == "inputs":
            self._sweep(due, id)
        elif kind == "object":
            self._stored(due, id)
        elif kind == "upload":
            # Of one that was completed nothing is left to give up.
            self._objects.multipart().abandon(id)
            self._jobs.settle(due)
        elif kind == "scoring":
            self._afterlife.visit(due, id)
        elif kind == "measure":
            self._measure(id)
            self._jobs.settle(due)
        else:
            raise ValueError(f"nothing is known of {kind!r}")

    def _publish(self, retries: Collection[Due]) -> None:
        released = [(due, id, self._jobs.release(id)) for due in retries for id in [due.member.partition(":")[2]]]
        outgoing = [Outgoing(got[0], id, got[1]) for _, id, got in released if got]
        answers = iter(self._publisher.publish(outgoing) if outgoing else [])
        for due, _, got in released:
            # Out of the set only after the broker has it: a crash publishes again, it never loses.
            if (next(answers) if got else None) is None:
                self._jobs.settle(due)
            else:
                # So many that the broker does not take would leave no room for what else is due.
                self._jobs.put_off(due, by_ms=AGAIN_MS)

    def _tidy(self, due: Due, id: str) -> None:
        """A job that was taken over has ended: what an attempt stored that never came to its commit is erased."""
        job = self._jobs.get(id)
        if job is not None and job.terminal and not job.erased:
            stored = list(self._objects.keys(f"{job.tenant}/jobs/{id}/out/"))
            # Retried meanwhile, it may have stored outputs since; its next end is looked at as well.
            if stored and (now := self._jobs.get(id)) is not None and now.attempt == job.attempt and now.terminal:
                for key in stored:
                    if key != now.outputs_key:
                        self._objects.delete(key)
        self._jobs.settle(due)

    def _judge(self, due: Due) -> None:
        """A job was taken over: its worker has given a sign of life since, or is gone."""
        if self.patience.over:
            self._jobs.judge(due)
        else:
            self._jobs.put_off(due, by_ms=GAP_MS)

    def _measure(self, key: str) -> None:
        """Erase an upload that came past the gateway and is larger than any may be."""
        size = self._objects.size(key)
        if size is not None and size > self._max_object_bytes:
            log.warning("an upload beyond the limit is erased", extra={"key": key, "bytes": size})
            self._objects.delete(key)

    def _stored(self, due: Due, key: str) -> None:
        """Erase an upload whose time is over, unless a scoring may still read it."""
        if self._pins.needed(key):
            self._jobs.put_off(due, by_ms=NEEDED_MS)
        else:
            self._objects.delete(key)
            self._jobs.settle(due)

    def _expire(self, due: Due, id: str) -> None:
        job = self._jobs.get(id)
        if job is None:
            self._jobs.settle(due)
        else:
            self._jobs.expire(job)

    def _sweep(self, due: Due, prefix: str) -> None:
        """Erase the inputs of a job that was refused, or whose gateway died, before it was accepted."""
        if self._jobs.get(prefix.split("/")[2]) is None:
            self._objects.delete_prefix(prefix)
        self._jobs.settle(due)

    def _erase(self, due: Due, id: str) -> None:
        job = self._jobs.get(id)
        remains = without_inputs(job.message) if job and job.hooks else b""
        # The record first: a client that retries the job at this moment keeps its inputs, or is told that it is gone.
        if job is not None and self._jobs.erase(job, reason="expired", remains=remains) != "kept":
            if stored(job):
                self._objects.delete_prefix(f"{job.tenant}/jobs/{id}/")
            if job.events:
                self._deliveries.forget(id)
        self._jobs.settle(due)


def stored(job: Job) -> bool:
    """Whether the object store may hold something of the job; of most it holds nothing, and to ask it takes long."""
    plain = job.status is Status.SUCCEEDED and job.attempt == 1 and not job.outputs_key and not job.steps
    return not plain or f"jobs/{job.id}/".encode() in job.message


class Patience:
    """For how long the store has answered without a gap: until workers had time to give a sign of life, one that gave
    none may be alive."""

    def __init__(self) -> None:
        self._since_ms = self._last_ms = 0

    def answered(self, now_ms: int) -> None:
        # Also where the clock was set back: what was measured by the old one says nothing.
        if not 0 <= now_ms - self._last_ms <= GAP_MS:
            self._since_ms = now_ms
        self._last_ms = now_ms

    @property
    def over(self) -> bool:
        return self._last_ms - self._since_ms >= TTL_S * 1000


class RelayThread(Ticking):
    """Ticks while it holds the farm's relay lock."""

    def __init__(self, relay: Relay, reaper: Reaper, client: "redis.Redis") -> None:
        super().__init__("relay", client)
        self._relay = relay
        self._reaper = reaper
        self._next_reap_s = 0.0

    def work(self) -> None:
        until_s = time.monotonic() + BUSY_S
        # As long as whole slices are due, a pause between them would let them pile up.
        while self._relay.tick() >= LIMIT and time.monotonic() < until_s:
            pass
        if time.monotonic() >= self._next_reap_s:
            self._next_reap_s = time.monotonic() + REAP_S
            self._reaper.reap(orphans=self._relay.patience.over)
