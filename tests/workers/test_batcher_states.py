"""Any sequence of arrivals, batches, suspects, clocks and closings leaves the batcher with exactly what waits."""

from dataclasses import dataclass

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tasks.message import LANES
from workers.batcher import Batcher, Limits, likeness

LINGER_S = 1.0


@dataclass(eq=False)
class Job:
    id: int
    rows: int
    weight: int
    arrived_s: float
    start_by_ms: int

    @property
    def likeness(self) -> object:
        return likeness("", self.weight)


class BatcherStates(RuleBasedStateMachine):
    """The model: a list for each lane, a list of suspects, a clock and a bound."""

    @initialize(max_items=st.integers(1, 6), max_weight=st.integers(1, 40), lingers=st.booleans())
    def begin(self, max_items: int, max_weight: int, lingers: bool) -> None:
        self.now_s = 0.0
        self.declared = self.limits = Limits(max_items, LINGER_S if lingers else 0.0, max_weight)
        self.batcher: Batcher[Job] = Batcher(self.limits, clock_s=lambda: self.now_s)
        self.lanes: dict[str, list[Job]] = {lane: [] for lane in LANES}
        self.alone: list[Job] = []
        self.count = 0
        self.closed = False

    @property
    def waiting(self) -> list[Job]:
        return [job for lane in LANES for job in self.lanes[lane]]

    def job(self, rows: int, weight: int, start_by_ms: int = 0) -> Job:
        self.count += 1
        return Job(self.count, rows, weight, self.now_s, start_by_ms)

    @precondition(lambda self: not self.closed)
    @rule(
        lane=st.sampled_from(LANES), rows=st.integers(1, 7), weight=st.integers(1, 20),
        in_ms=st.none() | st.integers(1, 5000),
    )  # fmt: skip
    def put(self, lane: str, rows: int, weight: int, in_ms: int | None) -> None:
        job = self.job(rows, weight, 0 if in_ms is None else round(self.now_s * 1000) + in_ms)
        self.batcher.put(lane, job)
        self.lanes[lane].append(job)

    @precondition(lambda self: not self.closed)
    @rule(count=st.integers(1, 3))
    def suspect(self, count: int) -> None:
        jobs = [self.job(1, 1) for _ in range(count)]
        assert self.batcher.put_alone(jobs)
        self.alone += jobs

    @rule(seconds=st.floats(0, 2))
    def pass_time(self, seconds: float) -> None:
        self.now_s += seconds

    @rule(bound=st.none() | st.integers(1, 60))
    def bound(self, bound: int | None) -> None:
        self.batcher.bound(bound)
        self.limits = self.declared._replace(max_weight=min(bound or 10**9, self.declared.max_weight))

    @precondition(lambda self: not self.closed and (self.alone or self.due()))
    @rule()
    def take(self) -> None:
        batch = self.batcher.take()
        if self.alone:
            assert batch == [self.alone.pop(0)]
            return
        self.remove(batch)

    @precondition(lambda self: not self.closed)
    @rule(full=st.booleans(), returned=st.booleans())
    def take_ahead(self, full: bool, returned: bool) -> None:
        batch = self.batcher.ahead(full=full)
        assert batch or full or self.alone or not self.due()
        if not batch:
            return
        assert not self.alone
        lanes = {lane: list(jobs) for lane, jobs in self.lanes.items()}
        self.remove(batch)
        if returned:
            assert self.batcher.put_back([(next(lane for lane in LANES if job in lanes[lane]), job) for job in batch])
            self.lanes = lanes

    def remove(self, batch: list[Job]) -> None:
        """The batch is one that may be chosen; it waits no more."""
        rows, heaviest = sum(job.rows for job in batch), max(job.weight for job in batch)
        fits = rows <= self.limits.max_items and rows * heaviest <= self.limits.max_weight
        assert len(batch) == 1 or fits
        assert len({job.likeness for job in batch}) == 1
        for lane in LANES:
            taken = [job for job in batch if job in self.lanes[lane]]
            like = [job for job in self.lanes[lane] if job.likeness == batch[0].likeness]
            # In the order they came, and none of them twice.
            assert taken == like[: len(taken)]
            self.lanes[lane] = [job for job in self.lanes[lane] if job not in taken]

    def due(self) -> bool:
        """Whether `take` would not block for certain."""
        return any(job.arrived_s + self.limits.max_wait_s <= self.now_s for job in self.waiting)

    @rule()
    def let_late_ones_go(self) -> None:
        now_ms = round(self.now_s * 1000)
        late = [job for job in self.waiting if 0 < job.start_by_ms < now_ms]
        found = self.batcher.late(now_ms)
        assert sorted(job.id for job in found) == sorted(job.id for job in late)
        assert set(self.batcher.discard(lambda job: job in found)) == set(late)
        self.lanes = {lane: [job for job in jobs if job not in late] for lane, jobs in self.lanes.items()}

    @rule(parity=st.integers(0, 2))
    def lose_a_channel(self, parity: int) -> None:
        gone = self.batcher.discard(lambda job: job.id % 3 == parity)
        assert {job.id for job in gone} == {job.id for job in self.waiting if job.id % 3 == parity}
        self.lanes = {lane: [job for job in jobs if job.id % 3 != parity] for lane, jobs in self.lanes.items()}

    @rule()
    def close(self) -> None:
        rest = self.batcher.close()
        assert {job.id for job in rest} == {job.id for job in [*self.alone, *self.waiting]}
        assert self.batcher.take() == []
        self.alone, self.lanes, self.closed = [], {lane: [] for lane in LANES}, True

    @invariant()
    def holds_what_waits(self) -> None:
        if self.count:
            assert len(self.batcher) == len(self.alone) + len(self.waiting)


TestBatcherStates = BatcherStates.TestCase
TestBatcherStates.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
