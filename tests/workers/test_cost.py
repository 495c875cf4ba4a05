"""The measured cost finds the batch that meets a target, whatever a few wild measurements say."""

import random

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from workers.cost import GROWTH, REMEMBERED, Cost


def run(cost: Cost, target_ms: float, a: float, b: float, *, batches: int, wild: float = 0, seed: int = 0) -> list[int]:
    """Always as much as `most` allows, a share of `wild` taking 20 times as long; the loads that were run."""
    loads, dice = [], random.Random(seed)
    for _ in range(batches):
        load = cost.most(target_ms)
        cost.observe(load, (a * load + b) * (20 if dice.random() < wild else 1))
        loads.append(load)
    return loads


def test_nothing_measured_runs_one() -> None:
    assert Cost().most(50) == 1
    assert Cost().line() is None


def test_one_item_runs_however_slow_it_is() -> None:
    cost = Cost()
    assert set(run(cost, 5, 2, 10, batches=50)) == {1}


@settings(deadline=None)
@given(a=st.floats(0.05, 20), b=st.floats(0, 100), extra=st.floats(1, 200))
def test_batch_grows_to_the_target_and_never_beyond(a: float, b: float, extra: float) -> None:
    target = b + a * extra
    cost = Cost()
    loads = run(cost, target, a, b, batches=60)
    # What a second item costs has to be tried.
    assert all(a * load + b <= target * (1 + 1e-6) for load in loads if load > 2)
    assert all(later <= GROWTH * max(loads[:i]) for i, later in enumerate(loads) if i)
    assert loads[-1] >= int(extra + 1e-6) * 0.9 - 1


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_wild_measurements_change_little(seed: int) -> None:
    cost = Cost()
    loads = run(cost, 50, 2, 10, batches=500, wild=0.05, seed=seed)
    assert max(loads) <= 22
    assert sorted(loads[100:])[200] >= 15


def test_slower_machine_makes_smaller_batches_and_a_faster_one_larger_again() -> None:
    cost = Cost()
    run(cost, 50, 2, 10, batches=100)
    slow = run(cost, 50, 6, 20, batches=60)
    assert slow[-1] == 5
    fast = run(cost, 50, 2, 10, batches=4 * REMEMBERED)
    assert fast[-1] >= 18


def test_cost_that_does_not_grow_sets_no_bound_but_the_next_step() -> None:
    cost = Cost()
    assert run(cost, 50, 0, 10, batches=8) == [1, 1, 2, 2, 4, 4, 8, 8]


def test_size_that_proved_too_slow_is_not_run_again_soon() -> None:
    cost = Cost()
    for load, ms in [(1, 5.0), (2, 6.0), (4, 8.0), (8, 12.0)] * 3 + [(16, 90.0)] * 3:
        cost.observe(load, ms)
    assert cost.most(50) < 16


def test_line_is_what_was_measured() -> None:
    cost = Cost()
    for load in (1, 3, 8, 20) * 2:
        cost.observe(load, 2.0 * load + 10)
    line = cost.line()
    assert line
    assert (line.a, line.b) == pytest.approx((2, 10))
