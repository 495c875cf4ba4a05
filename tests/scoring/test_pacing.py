"""How large shards are and how many are out: pure rules, over any figures."""

import hypothesis.strategies as st
from hypothesis import given

from storage.workers import ModelStatus, WorkerStatus
from tasks.scoring import pacing


def worker(pool: str, *models: tuple[str, str, str, int]) -> WorkerStatus:
    found = tuple(
        ModelStatus(model=model, version=version, state=state, executors=executors)  # type: ignore[arg-type]
        for model, version, state, executors in models
    )
    return WorkerStatus(name=f"w-{pool}", pool=pool, started_ms=1, models=found)


def test_executors_are_those_that_serve_this_version_in_this_pool() -> None:
    workers = [
        worker("cpu", ("m", "1", "ready", 2), ("m", "2", "ready", 4), ("n", "1", "ready", 8)),
        worker("cpu", ("m", "1", "draining", 1), ("m", "1", "loading", 16)),
        worker("gpu", ("m", "1", "ready", 32)),
    ]
    assert pacing.executors(workers, pool="cpu", model="m", version="1") == 3
    assert [pacing.window(count) for count in (0, 1, 3)] == [2, 2, 6]


def test_cost_is_what_a_row_took_an_executor_and_unknown_before_any_did() -> None:
    assert pacing.cost_ms({}) is None
    assert pacing.cost_ms({"rows": 10}) is None
    assert pacing.cost_ms({"rows": 10, "compute:sum": 30.0, "decode:sum": 5, "encode:sum": 5, "queue:sum": 99}) == 4.0


@given(st.floats(1e-9, 1e6), st.floats(0, 1e9), st.integers(1, 100_000))
def test_shard_is_whole_batches_of_about_a_second_within_its_bounds(
    row_ms: float, row_bytes: float, max_items: int
) -> None:
    rows = pacing.shard_rows(row_ms, row_bytes=row_bytes, max_items=max_items)
    assert rows > 0
    assert rows % max_items == 0
    if rows > max_items:
        assert rows <= pacing.MOST_ROWS
        assert rows * row_bytes <= pacing.MOST_BYTES * 1.001
        assert rows * row_ms <= pacing.SHARD_MS * 1.001


@given(st.integers(2, 50_000), st.integers(1, 5000))
def test_halves_get_smaller_until_one_row_is_left_and_keep_batches_whole(rows: int, max_items: int) -> None:
    first = pacing.halved(rows, max_items)
    assert 0 < first < rows
    if rows > max_items:
        assert first % max_items == 0
        assert abs(2 * first - rows) <= 2 * max_items


def test_straggler_is_far_over_the_median_and_over_ten_seconds() -> None:
    assert not pacing.straggles(60_000, [1000, 1000])
    assert pacing.straggles(10_001, [1000, 1000, 2000])
    assert not pacing.straggles(9_999, [1000, 1000, 2000])
    assert not pacing.straggles(39_000, [10_000, 10_000, 20_000])


def test_straggler_is_far_over_what_is_expected_where_few_have_ended() -> None:
    assert pacing.straggles(10_001, [1000, 1000], expected_ms=1000)
    assert not pacing.straggles(9_999, [], expected_ms=1000)
    assert not pacing.straggles(39_000, [], expected_ms=10_000)
    assert not pacing.straggles(39_000, [10_000, 10_000, 20_000], expected_ms=1)
