"""Micro-batches of a shard against their promises, on random rows."""

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from models.arrays import Batch
from models.manifest import Batching, Manifest, Tensor, Weight
from models.microbatches import Picks, calls, halves, plan, weights_of
from models.scattering import Scatter

TEXT = Tensor("text", "BYTES", (-1,))
FIXED = Tensor("x", "FP32", (-1, 4))
OPEN = Tensor("x", "FP32", (-1, -1))
OUT = Tensor("y", "FP32", (-1, 2))


def model(tensor: Tensor, **batching: Any) -> Manifest:
    return Manifest(name="m", runtime="python", inputs=(tensor,), outputs=(OUT,), batching=Batching(**batching))


def listed(picks: list[Picks]) -> list[list[int]]:
    return [[int(pick) for pick in some] for some in picks]


texts = st.lists(st.text(max_size=30), min_size=1, max_size=40)
ragged = st.lists(st.integers(1, 4), min_size=1, max_size=40).map(
    lambda sizes: [np.full(size, n, dtype=np.float32) for n, size in enumerate(sizes)]
)


@given(texts, st.integers(1, 9), st.none() | st.integers(1, 40))
def test_every_row_is_in_one_micro_batch_within_the_bounds(rows: list[str], items: int, heavy: int | None) -> None:
    manifest = model(TEXT, max_items=items, max_weight=heavy, weight=Weight("text", "characters", 4))
    batch: Batch = {"text": list(rows)}
    planned = listed(plan(manifest, batch, len(rows)))
    assert sorted(row for some in planned for row in some) == list(range(len(rows)))
    weights = weights_of(manifest, batch, len(rows))
    for some in planned:
        assert len(some) <= items
        assert len(some) == 1 or heavy is None or len(some) * max(weights[row] for row in some) <= heavy


@given(texts, st.integers(1, 9))
def test_plan_is_the_same_whenever_it_is_made(rows: list[str], items: int) -> None:
    manifest = model(TEXT, max_items=items, weight=Weight("text", "characters"))
    assert listed(plan(manifest, {"text": list(rows)}, len(rows))) == listed(
        plan(manifest, {"text": list(rows)}, len(rows))
    )


def test_light_rows_come_first_and_equal_ones_in_their_order() -> None:
    manifest = model(TEXT, max_items=2, weight=Weight("text", "characters"))
    planned = plan(manifest, {"text": ["ccc", "a", "bb", "d", "ee"]}, 5)
    assert listed(planned) == [[1, 3], [2, 4], [0]]


def test_rows_of_one_weight_are_taken_as_they_lie() -> None:
    planned = plan(model(FIXED, max_items=4), {"x": np.zeros((10, 4), dtype=np.float32)}, 10)
    assert planned == [range(4), range(4, 8), range(8, 10)]


@given(ragged, st.integers(1, 9))
def test_rows_that_differ_in_shape_share_no_micro_batch(rows: list[Any], items: int) -> None:
    planned = listed(plan(model(OPEN, max_items=items), {"x": rows}, len(rows)))
    assert sorted(row for some in planned for row in some) == list(range(len(rows)))
    for some in planned:
        assert len(some) <= items
        assert len({rows[row].shape for row in some}) == 1


@given(ragged, st.integers(1, 9))
def test_padded_rows_share_one_and_each_call_is_of_one_shape(rows: list[Any], items: int) -> None:
    manifest = model(OPEN, max_items=items, pad={"x": 0})
    planned = plan(manifest, {"x": rows}, len(rows))
    assert all(len(some) == items for some in planned[:-1])
    for some in planned:
        made = list(calls({"x": rows}, some, {"k": 1}))
        assert sorted(int(row) for picks, _ in made for row in picks) == sorted(int(row) for row in some)
        for picks, call in made:
            assert call.parameters == {"k": 1}
            assert np.array_equal(call.inputs["x"], np.stack([rows[row] for row in picks]))


@given(st.integers(2, 50))
def test_halves_are_the_whole(count: int) -> None:
    some: list[Picks] = [range(3, 3 + count), np.arange(count)]
    for picks in some:
        first, second = halves(picks)
        assert [*first, *second] == list(picks)
        assert len(first) > 0 < len(second)


@pytest.mark.parametrize("tensor", [OUT, Tensor("y", "FP32", (-1, -1)), Tensor("y", "BYTES", (-1,))])
def test_outputs_come_back_in_the_order_of_the_rows_that_have_any(tensor: Tensor) -> None:
    scatter = Scatter([tensor], 5)

    def rows(*numbers: int) -> Any:
        return [str(n) for n in numbers] if tensor.datatype == "BYTES" else np.array([[n, n] for n in numbers])

    scatter.put(np.array([4, 0]), {"y": rows(4, 0)})
    scatter.put(range(1, 3), {"y": rows(1, 2)})
    assert scatter.kept.tolist() == [0, 1, 2, 4]
    assert np.array_equal(np.array(scatter.outputs()["y"]), np.array(rows(0, 1, 2, 4)))
    scatter.put(range(3, 4), {"y": rows(3)})
    assert np.array_equal(np.array(scatter.outputs()["y"]), np.array(rows(0, 1, 2, 3, 4)))
