"""A shard on one executor, from the worker's side: a slice, then whatever is more urgent, then the next slice.

The shard's state is the executor's. What is known here is enough to begin it anew: the job.
"""

import time
from collections.abc import Callable
from typing import Literal, NamedTuple

from errors import WorkerLost
from storage.clock import wall_ms
from storage.jobs import Standing
from storage.statistics import Recorder
from workers import wire
from workers.claiming import Claimer
from workers.commit import failed
from workers.executor import Executor
from workers.lane import Delivery

#: Between looks at the shard's record: by then a cancel is seen, seconds.
LOOK_S = 1.0


class Ended(NamedTuple):
    """How the slices of a shard came to an end: done, or because the worker stops, or the executor is gone."""

    why: Literal["done", "stopping", "bereft"]
    #: To be committed; where it is done.
    result: wire.Result = wire.Result()
    compute_ms: float = 0.0


class Slicing:
    """Runs the shards of one executor. Not thread-safe."""

    def __init__(
        self,
        executor: Executor,
        claimer: Claimer,
        recorder: Recorder,
        *,
        sliced: Callable[[wire.Sliced], None],
        urgent: Callable[[], bool],
        stopping: Callable[[], bool],
    ) -> None:
        """`sliced` is told of each slice; `urgent` runs what waits and may not be kept waiting by a shard: it says
        whether the executor is still there.
        """
        self._executor = executor
        self._claimer = claimer
        self._recorder = recorder
        self._sliced = sliced
        self._urgent = urgent
        self._stopping = stopping

    def run(self, job: Delivery, *, timeout_s: float) -> Ended:
        """Until the shard has a result; `timeout_s` is a slice's.

        Raises ExecutorDied, or ExecutorHung where a slice took too long.
        """
        token = job.claim.token if job.claim else 0
        compute_ms, looked_s = 0.0, time.monotonic()
        queue_ms = [max(0, wall_ms() - job.since_ms)]
        order = wire.Slice(job.id, token, job.body)
        while not self._stopping():
            told = self._executor.run_slice(order, timeout_s=timeout_s)
            compute_ms += told.compute_ms
            self._count(told, queue_ms)
            queue_ms = []
            if told.result is not None:
                return Ended("done", told.result, compute_ms)
            if not self._urgent():
                return Ended("bereft")
            order = wire.Slice(job.id, token)
            if time.monotonic() - looked_s >= LOOK_S:
                looked_s = time.monotonic()
                if self._claimer.standing(job) is not Standing.OURS:
                    self._executor.run_slice(wire.Slice(job.id, token, drop=True), timeout_s=timeout_s)
                    return Ended("done", failed(WorkerLost("it was canceled, or is run elsewhere")), compute_ms)
        return Ended("stopping")

    def _count(self, told: wire.Sliced, queue_ms: list[int]) -> None:
        stages_ms = {"decode": told.decode_ms, "compute": told.compute_ms, "encode": told.encode_ms}
        self._recorder.add_batch(
            rows=told.rows,
            queue_ms=queue_ms,
            stages_ms={stage: ms for stage, ms in stages_ms.items() if ms},
            batches=told.batches,
        )
        self._sliced(told)
