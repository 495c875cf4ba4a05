"""The batch policy against its promises, on random arrivals."""

from collections.abc import Hashable
from typing import NamedTuple

import hypothesis.strategies as st
from hypothesis import given

from tasks.message import LANES
from workers.batcher import LOW_EVERY, Alone, Batcher, Limits, likeness, take


class Job(NamedTuple):
    id: int
    rows: int = 1
    arrived_s: float = 0.0
    weight: int = 1
    shape: str = ""
    start_by_ms: int = 0

    @property
    def likeness(self) -> Hashable:
        return likeness(self.shape, self.weight)


def lanes(**waiting: list[Job]) -> dict[str, dict[Hashable, list[Job]]]:
    made: dict[str, dict[Hashable, list[Job]]] = {lane: {} for lane in LANES}
    for lane, entries in waiting.items():
        for job in entries:
            made[lane].setdefault(job.likeness, []).append(job)
    return made


def counts_of(waiting: dict[str, dict[Hashable, list[Job]]], limits: Limits, *, turn: int = 1) -> dict[str, int]:
    """Of each lane how many are taken, in the order they are."""
    choice, wait_s = take(waiting, now_s=0.0, limits=limits, turn=turn)
    assert choice
    assert wait_s == 0.0
    return choice.counts


def test_idle_executor_gets_what_is_there_at_once() -> None:
    assert counts_of(lanes(normal=[Job(1)]), Limits(8)) == {"normal": 1}


def test_high_goes_before_normal_before_low() -> None:
    counts = counts_of(lanes(high=[Job(1)], normal=[Job(2)], low=[Job(3)]), Limits(2))
    assert list(counts.items()) == [("high", 1), ("normal", 1)]


def test_low_is_served_however_much_high_there_is() -> None:
    waiting = lanes(high=[Job(n) for n in range(1000)], low=[Job(-1)])
    served = [counts_of(waiting, Limits(1), turn=turn) for turn in range(1, LOW_EVERY + 1)]
    assert served[-1] == {"low": 1}
    assert all(counts == {"high": 1} for counts in served[:-1])


def test_job_with_more_rows_than_a_batch_runs_alone() -> None:
    assert counts_of(lanes(normal=[Job(1, rows=100), Job(2)]), Limits(8)) == {"normal": 1}


def test_batch_weighs_its_rows_times_the_heaviest() -> None:
    waiting = lanes(normal=[Job(1, weight=4), Job(2, weight=7), Job(3, weight=5)])
    assert counts_of(waiting, Limits(8, max_weight=20)) == {"normal": 2}
    assert counts_of(waiting, Limits(8, max_weight=21)) == {"normal": 3}
    assert counts_of(waiting, Limits(8, max_weight=1)) == {"normal": 1}


def test_only_equal_shapes_and_like_weights_join_the_oldest() -> None:
    like = [Job(1, shape="2x2", weight=9, arrived_s=1.0), Job(4, shape="2x2", weight=15, arrived_s=4.0)]
    unlike = [Job(2, shape="2x3", weight=9, arrived_s=2.0), Job(3, shape="2x2", weight=16, arrived_s=3.0)]
    choice, _ = take(lanes(normal=unlike + like), now_s=9.0, limits=Limits(8), turn=1)
    assert choice
    assert (choice.likeness, choice.counts) == (like[0].likeness, {"normal": 2})


def test_linger_waits_for_company_until_the_oldest_has_waited_enough() -> None:
    waiting = lanes(normal=[Job(1, arrived_s=10.0)])
    limits = Limits(8, max_wait_s=0.005)
    assert take(waiting, now_s=10.002, limits=limits, turn=1) == (None, 10.0 + 0.005 - 10.002)
    choice, _ = take(waiting, now_s=10.006, limits=limits, turn=1)
    assert choice
    assert choice.counts == {"normal": 1}


def test_full_batch_does_not_linger() -> None:
    assert counts_of(lanes(normal=[Job(n) for n in range(8)]), Limits(8, max_wait_s=1.0)) == {"normal": 8}


def test_batch_that_is_full_runs_while_an_older_one_waits_for_company() -> None:
    waiting = lanes(normal=[Job(1, shape="a"), Job(2, shape="b", arrived_s=0.1), Job(3, shape="b", arrived_s=0.2)])
    choice, _ = take(waiting, now_s=0.3, limits=Limits(2, max_wait_s=1.0), turn=1)
    assert choice
    assert (choice.likeness, choice.counts) == (likeness("b", 1), {"normal": 2})


jobs = st.lists(
    st.builds(
        Job,
        id=st.integers(),
        rows=st.integers(1, 12),
        arrived_s=st.just(0.0),
        weight=st.integers(1, 40),
        shape=st.sampled_from("ab"),
        start_by_ms=st.just(0),
    ),
    max_size=20,
)


@given(high=jobs, normal=jobs, low=jobs, max_items=st.integers(1, 16), max_weight=st.integers(1, 300))
def test_batch_is_never_empty_while_jobs_wait_and_never_too_big(
    high: list[Job], normal: list[Job], low: list[Job], max_items: int, max_weight: int
) -> None:
    waiting = lanes(high=high, normal=normal, low=low)
    choice, wait_s = take(waiting, now_s=0.0, limits=Limits(max_items, max_weight=max_weight), turn=1)
    assert wait_s == 0.0
    assert bool(choice) == bool(high or normal or low)
    if choice:
        taken = [job for lane, count in choice.counts.items() for job in waiting[lane][choice.likeness][:count]]
        rows = sum(job.rows for job in taken)
        assert taken
        assert len(taken) == 1 or (rows <= max_items and rows * max(job.weight for job in taken) <= max_weight)


@given(arrivals=st.lists(st.tuples(st.sampled_from(LANES), st.integers(1, 5)), min_size=1, max_size=60))
def test_every_job_is_taken_once_and_in_order_within_its_lane(arrivals: list[tuple[str, int]]) -> None:
    batcher: Batcher[Job] = Batcher(Limits(8))
    expected: dict[str, list[int]] = {lane: [] for lane in LANES}
    lane_of = {}
    for id, (lane, rows) in enumerate(arrivals):
        batcher.put(lane, Job(id, rows))
        expected[lane].append(id)
        lane_of[id] = lane
    taken: dict[str, list[int]] = {lane: [] for lane in LANES}
    while len(batcher):
        for job in batcher.take():
            taken[lane_of[job.id]].append(job.id)
    assert taken == expected


def test_suspects_run_one_by_one_before_anything_else() -> None:
    batcher: Batcher[Job] = Batcher(Limits(8))
    batcher.put("high", Job(1))
    batcher.put_alone([Job(2), Job(3)])
    assert [batcher.take() for _ in range(3)] == [[Job(2)], [Job(3)], [Job(1)]]


def test_closing_returns_what_waited_and_ends_the_takers() -> None:
    batcher: Batcher[Job] = Batcher(Limits(8))
    batcher.put("low", Job(1))
    batcher.put_alone([Job(2)])
    assert batcher.close() == [Job(2), Job(1)]
    assert batcher.take() == []


def test_late_jobs_are_named_until_they_are_discarded() -> None:
    batcher: Batcher[Job] = Batcher(Limits(8))
    early, late = Job(1, start_by_ms=2000), Job(2, start_by_ms=1000)
    for job in (Job(0), early, late):
        batcher.put("normal", job)
    assert batcher.late(1000) == []
    assert batcher.late(1001) == [late]
    assert batcher.late(1001) == [late]
    assert batcher.discard(lambda job: job is late) == [late]
    assert batcher.late(2000) == []
    assert batcher.late(2001) == [early]
    assert batcher.take() == [Job(0), early]


def test_bound_makes_batches_smaller_and_never_larger_than_declared() -> None:
    batcher: Batcher[Job] = Batcher(Limits(8, max_weight=6))
    for id in range(14):
        batcher.put("normal", Job(id))
    sizes = []
    for bound in (2, 100, None):
        batcher.bound(bound)
        sizes.append(len(batcher.take()))
    assert sizes == [2, 6, 6]


class ShardJob(Job):
    @property
    def likeness(self) -> Hashable:
        return Alone(str(self.id))


def queued(**waiting: list[Job]) -> Batcher[Job]:
    batcher: Batcher[Job] = Batcher(Limits(8))
    for lane, entries in waiting.items():
        for job in entries:
            batcher.put(lane, job)
    return batcher


def test_shard_shares_no_batch_and_waits_for_no_company() -> None:
    waiting = lanes(low=[ShardJob(1), Job(2, arrived_s=1.0), ShardJob(3, arrived_s=2.0)])
    limits = Limits(8, max_wait_s=9.0)
    choice, _ = take(waiting, now_s=0.0, limits=limits, turn=1)
    assert choice
    assert (choice.likeness, choice.counts) == (Alone("1"), {"low": 1})


def test_between_slices_the_upper_lanes_run_and_no_shard_does() -> None:
    batcher = queued(
        high=[ShardJob(1), Job(2)], normal=[Job(3, shape="a"), ShardJob(4)], low=[Job(5), ShardJob(6)]
    )  # fmt: skip
    assert batcher.urgent() == [Job(2)]
    assert batcher.urgent() == [Job(3, shape="a")]
    assert batcher.urgent() == []
    assert len(batcher) == 4


def test_between_slices_a_suspect_runs_and_a_suspected_shard_does_not() -> None:
    batcher = queued()
    batcher.put_alone([ShardJob(1), Job(2)])
    assert batcher.urgent() == [Job(2)]
    assert batcher.urgent() == []
    assert batcher.take() == [ShardJob(1)]


def test_shard_is_never_made_ready_ahead() -> None:
    batcher = queued(low=[ShardJob(1)])
    assert batcher.ahead(full=False) == batcher.ahead(full=True) == []
    assert batcher.take() == [ShardJob(1)]
