"""A step of a pipeline's job as it waits for its model, among the jobs that clients sent to that model."""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from storage.clock import wall_ms
from workers import stepwire, wire
from workers.batcher import likeness
from workers.lane import Delivery


class Report(NamedTuple):
    """What became of a step; without a result it was refused: it is to be run elsewhere."""

    result: wire.Result | None
    queue_ms: float = 0.0
    compute_ms: float = 0.0


class StepEntry:
    """What the batcher orders. It is not claimed and not committed: its job is, by the pipeline."""

    __slots__ = (
        "_reported", "arrived_s", "call", "deaths", "lane_name", "likeness", "rows", "since_ms", "start_by_ms",
        "tenant", "timeout_s", "version", "wanted", "weight",
    )  # fmt: skip

    def __init__(
        self, call: stepwire.Call, *, tenant: str, timeout_s: float, reported: Callable[["StepEntry", Report], None]
    ) -> None:
        """`reported` is called once, on the thread of whoever ran it."""
        self.call = call
        self.tenant = tenant
        self.rows = call.rows
        self.weight = call.weight or 1
        self.likeness = likeness(call.shape, call.weight)
        self.arrived_s = time.monotonic()
        self.since_ms = wall_ms()
        #: Its job has started: that was in time.
        self.start_by_ms = 0
        #: What is left of its job's time, seconds.
        self.timeout_s: float | None = timeout_s
        #: Where it waits, once it does.
        self.lane_name = ""
        #: Of the model that it was put among the jobs of.
        self.version = ""
        #: False once its job is over.
        self.wanted = True
        #: Executors that died while they ran this step alone.
        self.deaths = 0
        self._reported = reported

    @property
    def id(self) -> str:
        return self.call.job

    def item(self) -> wire.Item:
        call = self.call
        return wire.Item(
            call.job, 0, tensors=call.tensors, parameters=call.parameters, tenant=self.tenant, raw=True
        )  # fmt: skip

    def end(self, result: wire.Result, *, compute_ms: float) -> None:
        waited_ms = (time.monotonic() - self.arrived_s) * 1000
        self._reported(self, Report(result, max(0.0, waited_ms - compute_ms), compute_ms))

    def refuse(self) -> None:
        self._reported(self, Report(None))


#: What waits for a model.
Work = Delivery | StepEntry


def jobs_of(batch: Iterable[Work]) -> list[Delivery]:
    return [work for work in batch if isinstance(work, Delivery)]


def refuse_steps(batch: Sequence[Work]) -> list[Delivery]:
    """What is not run here any more: steps are to be run elsewhere; returns the jobs."""
    for work in batch:
        if isinstance(work, StepEntry):
            work.refuse()
    return jobs_of(batch)
