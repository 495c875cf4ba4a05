"""Jobs by the thousand through the batcher and a model that fails in every way, against a reference.

Whatever the order, the batches, the failures and the cancellations: each job ends with its own rows' results or with
its own error, once; bounds hold; and nobody waits for ever.
"""

from typing import Any, NamedTuple

import hypothesis.strategies as st
import numpy as np
from hypothesis import given, settings

from errors import ModelError, OutOfMemory, PenstockError
from models.arrays import Batch
from models.ceiling import Ceiling
from models.handler import Handler
from models.manifest import Batching, Manifest, Tensor
from models.measuring import measure
from models.running import Call, Run
from tasks.message import LANES
from workers.batcher import LOW_EVERY, Batcher, Limits, likeness

#: What a row's first number makes the model do; others are harmless.
RAISES, NO_ROW, NO_MEMORY = -1, -2, -3


class Steps(Handler):
    """No handler."""

    def __init__(self) -> None:
        self.preprocess = self.postprocess = None


class Job:
    """A waiting job, and what the test knows of it."""

    def __init__(self, id: int, manifest: Manifest, rows: list[list[int]], arrived_s: float) -> None:
        measured = measure(manifest, {"x": rows})
        self.id = id
        self.x = np.array(rows)
        self.rows = len(rows)
        self.weight = measured.weight or 1
        self.likeness = likeness(measured.shape, measured.weight)
        self.arrived_s = arrived_s
        self.start_by_ms = 0
        self.deaths = 0


class Case(NamedTuple):
    """How the model is declared, and how much it really holds."""

    padded: bool
    max_items: int
    max_weight: int | None
    holds: int

    def manifest(self) -> Manifest:
        return Manifest(
            name="m",
            runtime="python",
            inputs=(Tensor("x", "INT64", (-1, -1)),),
            outputs=(Tensor("y", "INT64", (-1,)),),
            batching=Batching(
                max_items=self.max_items, max_weight=self.max_weight, pad={"x": 0} if self.padded else {}
            ),
        )


class Model:
    """Gives the sum of each row; checks what it is given against the bounds."""

    def __init__(self, case: Case) -> None:
        self.case = case

    def predict(self, tensors: Batch) -> dict[str, Any]:
        x = np.asarray(tensors["x"])
        rows, width = x.shape
        assert rows <= self.case.max_items
        assert rows == 1 or not self.case.padded or rows * width <= (self.case.max_weight or 10**9)
        if rows * width > self.case.holds or NO_MEMORY in x[:, 0]:
            raise MemoryError
        if RAISES in x[:, 0]:
            raise ValueError("asked to")
        return {"y": [KeyError("no such row") if row[0] == NO_ROW else row.sum() for row in x]}


def expected(case: Case, job: Job) -> list[int] | type[PenstockError]:
    """The reference: every job on its own, row by row."""
    words, width = set(job.x[:, 0].tolist()), job.x.shape[1]
    if NO_MEMORY in words or width > case.holds:
        return OutOfMemory
    return ModelError if words & {RAISES, NO_ROW} else job.x.sum(axis=1).tolist()


def ended(outcome: Batch | PenstockError) -> list[int] | type[PenstockError]:
    return type(outcome) if isinstance(outcome, PenstockError) else [int(row) for row in outcome["y"]]


@st.composite
def job_rows(draw: st.DrawFn) -> list[list[int]]:
    """Rows of one length, one of which may begin with trouble."""
    width = draw(st.integers(1, 9))
    rows = [[draw(st.integers(0, 99))] * width for _ in range(draw(st.integers(1, 5)))]
    trouble = draw(st.sampled_from([0] * 7 + [RAISES, NO_ROW, NO_MEMORY]))
    if trouble:
        rows[draw(st.integers(0, len(rows) - 1))][0] = trouble
    return rows


ARRIVAL = st.tuples(st.sampled_from(LANES), job_rows())
#: What happens next: a job arrives, a batch runs, a batch takes its executor down, a waiting job is taken away.
EVENTS = st.lists(
    ARRIVAL | ARRIVAL | ARRIVAL | st.just("run") | st.just("die") | st.tuples(st.just("cancel"), st.integers(0, 200)),
    min_size=10,
    max_size=120,
)
CASES = st.builds(
    Case,
    padded=st.booleans(),
    max_items=st.integers(1, 12),
    max_weight=st.none() | st.integers(1, 60),
    holds=st.integers(4, 200),
)


class Day:
    """One run of events."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.manifest = case.manifest()
        limits = Limits(case.max_items, max_weight=case.max_weight or 10**9)
        self.batcher: Batcher[Job] = Batcher(limits, clock_s=lambda: 1e9)
        self.model = Model(case)
        self.ceiling = Ceiling()
        self.jobs: list[Job] = []
        self.lane_of: dict[int, str] = {}
        self.waiting: set[int] = set()
        self.ends: dict[int, Any] = {}
        #: Batches begun since each job arrived, and jobs of its lane that were before it then.
        self.patience: dict[int, tuple[int, int]] = {}
        self.turns = 0

    def arrive(self, lane: str, rows: list[list[int]]) -> None:
        job = Job(len(self.jobs), self.manifest, rows, float(len(self.jobs)))
        before = sum(self.lane_of[id] == lane for id in self.waiting)
        self.jobs.append(job)
        self.lane_of[job.id] = lane
        self.waiting.add(job.id)
        self.patience[job.id] = (self.turns, before)
        self.batcher.put(lane, job)

    def cancel(self, pick: int) -> None:
        """A job that waits is let go, as at a cancel, an expiry or a lost connection."""
        chosen = pick % max(1, len(self.jobs))
        for job in self.batcher.discard(lambda job: job.id == chosen):
            self.waiting.discard(job.id)
            self.ends[job.id] = "canceled"

    def run(self, *, dies: bool = False) -> None:
        if not len(self.batcher):
            return
        batch = self.batcher.take()
        suspect = bool(batch[0].deaths)
        if not suspect:
            self.turns += 1
            self.check(batch)
        self.waiting -= {job.id for job in batch}
        if dies and not suspect:
            for job in batch:
                job.deaths += 1
            self.batcher.put_alone(batch)
            return
        calls = [Call({"x": job.x}) for job in batch]
        outcomes = Run(self.manifest, Steps(), self.model.predict, calls, self.ceiling).outcomes()
        for job, outcome in zip(batch, outcomes, strict=True):
            assert job.id not in self.ends
            self.ends[job.id] = ended(outcome)

    def fits(self, batch: list[Job]) -> bool:
        rows, heaviest = sum(job.rows for job in batch), max(job.weight for job in batch)
        return rows <= self.case.max_items and rows * heaviest <= (self.case.max_weight or 10**9)

    def check(self, batch: list[Job]) -> None:
        """The batch is one that the policy may choose."""
        assert len(batch) == 1 or self.fits(batch)
        assert len({job.likeness for job in batch}) == 1
        # The first of the batch is the oldest of its lane: nobody is passed over.
        lane = self.lane_of[batch[0].id]
        assert batch[0].id == min(id for id in self.waiting if self.lane_of[id] == lane)
        # No executor is left half empty: whoever would have joined next has no room.
        left = [job for job in self.jobs if job.id in self.waiting and job not in batch]
        like = [job for job in left if job.likeness == batch[0].likeness]
        assert not like or not all(self.fits([*batch, job]) for job in like)
        for job in batch:
            begun, before = self.patience[job.id]
            assert self.turns - begun <= LOW_EVERY * (before + 1)


@settings(max_examples=150, deadline=None)
@given(case=CASES, events=EVENTS)
def test_every_job_ends_as_if_it_had_been_alone(case: Case, events: list[Any]) -> None:
    day = Day(case)
    for event in events:
        match event:
            case "run":
                day.run()
            case "die":
                day.run(dies=True)
            case ("cancel", int(pick)):
                day.cancel(pick)
            case (lane, rows):
                day.arrive(lane, rows)
    while len(day.batcher):
        day.run()
    assert not day.waiting
    assert {job.id: day.ends[job.id] for job in day.jobs} == {
        job.id: "canceled" if day.ends[job.id] == "canceled" else expected(case, job) for job in day.jobs
    }


@settings(max_examples=100, deadline=None)
@given(case=CASES, rows=st.lists(job_rows(), min_size=1, max_size=60))
def test_executor_does_not_divide_a_batch_of_several_jobs(case: Case, rows: list[list[list[int]]]) -> None:
    """What the batcher puts together by the gateway's measures, the executor runs in one call."""
    manifest = case.manifest()
    batcher: Batcher[Job] = Batcher(Limits(case.max_items, max_weight=case.max_weight or 10**9))
    for id, values in enumerate(rows):
        harmless = [[abs(number) for number in row] for row in values]
        batcher.put("normal", Job(id, manifest, harmless, float(id)))
    calls = []

    def predict(tensors: Batch) -> dict[str, Any]:
        calls.append(tensors)
        return {"y": np.asarray(tensors["x"]).sum(axis=1)}

    while len(batcher):
        batch = batcher.take()
        calls.clear()
        Run(manifest, Steps(), predict, [Call({"x": job.x}) for job in batch]).outcomes()
        assert len(batch) == 1 or len(calls) == 1, [job.x.shape for job in batch]
