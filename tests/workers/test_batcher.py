"""The batch policy against its promises, on random arrivals."""

from collections import deque
from typing import NamedTuple

import hypothesis.strategies as st
from hypothesis import given

from tasks.message import LANES
from workers.batcher import LOW_EVERY, Batcher, Limits, take


class Job(NamedTuple):
    id: int
    rows: int = 1
    arrived_s: float = 0.0


def lanes(**waiting: list[Job]) -> dict[str, deque[Job]]:
    return {lane: deque(waiting.get(lane, [])) for lane in LANES}


def test_idle_executor_gets_what_is_there_at_once() -> None:
    counts, wait_s = take(lanes(normal=[Job(1)]), now_s=0.0, limits=Limits(8), turn=1)
    assert (counts, wait_s) == ({"normal": 1}, 0.0)


def test_high_goes_before_normal_before_low() -> None:
    waiting = lanes(high=[Job(1)], normal=[Job(2)], low=[Job(3)])
    counts, _ = take(waiting, now_s=0.0, limits=Limits(2), turn=1)
    assert list(counts.items()) == [("high", 1), ("normal", 1)]


def test_low_is_served_however_much_high_there_is() -> None:
    waiting = lanes(high=[Job(n) for n in range(1000)], low=[Job(-1)])
    served = [take(waiting, now_s=0.0, limits=Limits(1), turn=turn)[0] for turn in range(1, LOW_EVERY + 1)]
    assert served[-1] == {"low": 1}
    assert all(counts == {"high": 1} for counts in served[:-1])


def test_job_with_more_rows_than_a_batch_runs_alone() -> None:
    counts, _ = take(lanes(normal=[Job(1, rows=100), Job(2)]), now_s=0.0, limits=Limits(8), turn=1)
    assert counts == {"normal": 1}


def test_linger_waits_for_company_until_the_oldest_has_waited_enough() -> None:
    waiting = lanes(normal=[Job(1, arrived_s=10.0)])
    limits = Limits(8, max_wait_s=0.005)
    assert take(waiting, now_s=10.002, limits=limits, turn=1) == ({}, 10.0 + 0.005 - 10.002)
    assert take(waiting, now_s=10.006, limits=limits, turn=1) == ({"normal": 1}, 0.0)


def test_full_batch_does_not_linger() -> None:
    waiting = lanes(normal=[Job(n, arrived_s=10.0) for n in range(8)])
    assert take(waiting, now_s=10.0, limits=Limits(8, max_wait_s=1.0), turn=1) == ({"normal": 8}, 0.0)


jobs = st.lists(st.builds(Job, id=st.integers(), rows=st.integers(1, 12)), max_size=20)


@given(high=jobs, normal=jobs, low=jobs, max_items=st.integers(1, 16), turn=st.integers(1, 64))
def test_batch_is_never_empty_while_jobs_wait_and_never_too_big(
    high: list[Job], normal: list[Job], low: list[Job], max_items: int, turn: int
) -> None:
    waiting = lanes(high=high, normal=normal, low=low)
    counts, wait_s = take(waiting, now_s=0.0, limits=Limits(max_items), turn=turn)
    taken = [job for lane, count in counts.items() for job in list(waiting[lane])[:count]]
    assert wait_s == 0.0
    assert bool(taken) == bool(high or normal or low)
    assert len(taken) <= 1 or sum(job.rows for job in taken) <= max_items


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
