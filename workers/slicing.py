"""Shards on one executor, from the worker's side: a slice, then whatever is more urgent, then the next slice.

A shard's state is the executor's. What is known here is enough to begin it anew: its job. While the last micro-batches
of one run, and while its outputs are written, the next one is at hand already; outcomes are committed during a slice.
"""

import time
from collections.abc import Sequence
from typing import Literal, Protocol

from errors import WorkerLost
from storage.clock import wall_ms
from storage.jobs import Standing
from storage.statistics import Recorder
from workers import wire
from workers.claiming import Claimer
from workers.commit import failed
from workers.executor import Executor
from workers.lane import Delivery

#: Between looks at the shards' records: by then a cancel is seen, seconds.
LOOK_S = 1.0

Shard = tuple[str, int]


class Around(Protocol):
    """What the dispatcher does for its shards."""

    @property
    def stopping(self) -> bool: ...
    def urgent(self) -> bool:
        """Run what waits and may not be kept waiting by a shard; False: the executor is gone."""

    def another(self) -> Delivery | None:
        """A shard that waits, claimed."""

    def end(self, job: Delivery, result: wire.Result, compute_ms: float) -> None:
        """Commit."""

    def sliced(self, told: wire.Sliced) -> None: ...
    def limit_s(self, jobs: Sequence[Delivery]) -> float:
        """How long a slice of these may take."""


class Slicing:
    """Runs shards until none is under way. Not thread-safe."""

    def __init__(self, executor: Executor, claimer: Claimer, recorder: Recorder, around: Around) -> None:
        self._executor = executor
        self._claimer = claimer
        self._recorder = recorder
        self._around = around
        #: In the executor; and claimed, to begin with the next slice.
        self.under_way: dict[Shard, Delivery] = {}
        self.next: Delivery | None = None
        self._ended: list[tuple[Delivery, wire.ShardEnd]] = []
        self._looked_s = time.monotonic()
        self._queue_ms: list[int] = []

    def run(self, job: Delivery) -> Literal["done", "stopping", "bereft"]:
        """Until all are done; what is left in `under_way` and `next` otherwise has no outcome.

        "stopping": the worker does; "bereft": another job took the executor down. Raises ExecutorDied, or ExecutorHung
        where a slice took too long.
        """
        self.next, wants = job, False
        try:
            while self.under_way or self.next:
                if self._around.stopping:
                    return "stopping"
                self._executor.send_slice(wire.Slice(drop=self._unwanted(), begin=self._begin()))
                self._end_all()
                if wants:
                    self._fetch_next()
                told = self._executor.receive_slice(self._around.limit_s([*self.under_way.values()]))
                self._take(told)
                wants = told.wants
                if not self._around.urgent():
                    return "bereft"
            return "done"
        finally:
            # Whatever became of the others.
            self._end_all()

    def _fetch_next(self) -> None:
        """Have the next shard at hand, unless one under way is to be alone."""
        if self.next is None and all(map(sociable, self.under_way.values())):
            self.next = self._around.another()

    def _begin(self) -> list[wire.Item]:
        """The next shard, where it may run beside those under way."""
        job = self.next
        if job is None or (self.under_way and not sociable(job)):
            return []
        self.next = None
        self._queue_ms.append(max(0, wall_ms() - job.since_ms))
        self.under_way[shard_of(job)] = job
        return [job.item()]

    def _unwanted(self) -> list[Shard]:
        """Now and then: the shards that were canceled, or that another attempt holds."""
        now_s = time.monotonic()
        if now_s - self._looked_s < LOOK_S or not self.under_way:
            return []
        self._looked_s = now_s
        standings = self._claimer.standing([*self.under_way])
        found = [shard for shard, one in zip(self.under_way, standings, strict=True) if one is not Standing.OURS]
        for shard in found:
            # The commit is refused, or makes it a canceled one.
            result = failed(WorkerLost("it was canceled, or is run elsewhere"))
            self._ended.append((self.under_way.pop(shard), wire.ShardEnd(*shard, result)))
        return found

    def _take(self, told: wire.Sliced) -> None:
        stages_ms = {"decode": told.decode_ms, "compute": told.compute_ms, "encode": told.encode_ms}
        self._recorder.add_batch(
            rows=told.rows,
            queue_ms=self._queue_ms,
            stages_ms={stage: ms for stage, ms in stages_ms.items() if ms},
            batches=told.batches,
        )
        self._queue_ms = []
        self._around.sliced(told)
        self._ended += [(self.under_way.pop((end.id, end.token)), end) for end in told.ended]

    def _end_all(self) -> None:
        ended, self._ended = self._ended, []
        for job, end in ended:
            self._around.end(job, end.result, end.compute_ms)


def shard_of(job: Delivery) -> Shard:
    return job.id, job.claim.token if job.claim else 0


def sociable(job: Delivery) -> bool:
    """Whether it may be in an executor beside another shard: it has taken none down so far."""
    return not job.deaths and not (job.claim and job.claim.alone)
