"""What executors did: counted per worker, added up in the store, never falling."""

from itertools import pairwise

import hypothesis.strategies as st
import pytest
import redis
from hypothesis import given

from storage.statistics import BOUNDS_MS, STAGES, Figures, Histogram, Recorder, total
from storage.workers import Workers, WorkerStatus

VERSION = ("cpu", "echo", "1")
times = st.lists(st.floats(0, 400_000), min_size=1, max_size=50)


def beaten(workers: Workers, name: str, figures: Figures) -> None:
    status = WorkerStatus(name=name, pool="cpu", started_ms=1, models=())
    workers.beat(status, now_ms=1, figures={("echo", "1"): figures})


def figures_of(*ms: float, stage: str = "compute") -> Figures:
    recorder = Recorder()
    for one in ms:
        recorder.add_batch(rows=2, queue_ms=[], stages_ms={stage: one})
    return recorder.take()


@given(times)
def test_every_time_lies_in_the_bucket_that_bounds_it(ms: list[float]) -> None:
    histogram = Histogram(figures_of(*ms), "compute")
    low = 0.0
    for bound, count in zip(BOUNDS_MS, histogram.counts, strict=False):
        assert count == sum(low < one <= bound or one == bound == low for one in ms) + (low == 0) * ms.count(0.0)
        low = bound
    assert histogram.count == len(ms)
    assert histogram.sum_ms == pytest.approx(sum(ms))


@given(times, st.floats(0.01, 1))
def test_quantile_lies_in_the_bucket_of_the_true_one(ms: list[float], share: float) -> None:
    estimate = Histogram(figures_of(*ms), "compute").quantile_ms(share)
    assert estimate is not None
    ordered = sorted(ms)
    true = next(one for rank, one in enumerate(ordered, 1) if rank >= share * len(ordered) - 1e-9)
    edges = [0.0, *BOUNDS_MS, float("inf")]
    low, high = next((low, high) for low, high in pairwise(edges) if true <= high)
    assert low <= estimate <= min(high, BOUNDS_MS[-1]) or (true > BOUNDS_MS[-1] and estimate == BOUNDS_MS[-1])


def test_quantile_of_nothing_is_none() -> None:
    assert Histogram({}, "queue").quantile_ms(0.5) is None


def test_recorder_gives_each_figure_once_and_takes_back_what_could_not_be_stored() -> None:
    recorder = Recorder()
    stages = dict.fromkeys(STAGES[1:], 3.0)
    recorder.add_batch(rows=5, queue_ms=[1, 700], stages_ms=stages)
    recorder.add_restart("hung")
    taken = recorder.take()
    assert (taken["rows"], taken["batches"], taken["restarts:hung"], taken["queue:sum"]) == (5, 1, 1, 701.0)
    assert recorder.take() == {}
    recorder.add_batch(rows=1, queue_ms=[2], stages_ms=stages)
    recorder.put_back(taken)
    again = recorder.take()
    assert (again["rows"], again["batches"], again["queue:sum"], again["compute:sum"]) == (6, 2, 703.0, 6.0)


def test_figures_of_all_workers_add_up_and_stay_when_they_leave(store: "redis.Redis") -> None:
    workers = Workers(store)
    beaten(workers, "a", figures_of(3.0, 4.5))
    beaten(workers, "b", figures_of(4.25))
    workers.leave("a")
    (found, none) = workers.figures([VERSION, ("gpu", "echo", "1")])
    assert found == total([figures_of(3.0, 4.5), figures_of(4.25)])
    assert none == {}
    assert workers.figures([]) == []
