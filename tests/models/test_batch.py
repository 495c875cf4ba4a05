"""Rows of many calls as one batch: nothing is lost, mixed up or too large."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import ModelError
from models import batch
from models.batch import Piece

#: Calls as lists of row lengths.
CALLS = st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=6), min_size=1, max_size=8)


def calls_of(lengths: list[list[int]]) -> list[dict[str, Any]]:
    """Every row filled with a number of its own, so that it is known again."""
    made = []
    number = 0
    for call in lengths:
        rows = []
        for length in call:
            number += 1
            rows.append(np.full(length, number))
        made.append({"ids": rows, "name": [f"{row.size}" for row in rows]})
    return made


@given(lengths=CALLS, max_items=st.integers(1, 7), max_weight=st.none() | st.integers(1, 40))
def test_padded_rows_come_back_to_their_call(lengths: list[list[int]], max_items: int, max_weight: int | None) -> None:
    pad = {"ids": -1.0}
    calls = calls_of(lengths)
    pieces = [piece for i, call in enumerate(calls) for piece in batch.pieces_of(i, call, pad)]
    parts: list[list[tuple[int, Any]]] = [[] for _ in calls]
    for chunk in batch.plan(pieces, max_items=max_items, max_weight=max_weight, pad=pad):
        joined = batch.join(chunk, pad)
        rows, width = joined["ids"].shape  # type: ignore[union-attr]
        assert rows <= max_items
        assert rows == 1 or max_weight is None or rows * width <= max_weight
        output = {"max": np.max(joined["ids"], axis=1, initial=-1), "name": joined["name"]}
        for piece, share in zip(chunk, batch.split(output, chunk), strict=True):
            parts[piece.call].append((piece.start, share))
    for call, found in zip(calls, parts, strict=True):
        whole = batch.gather(found)
        assert list(whole["max"]) == [row.max(initial=-1) for row in call["ids"]]
        assert list(whole["name"]) == call["name"]


@given(
    rows=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 3)), min_size=1, max_size=8), max_items=st.integers(1, 7)
)
def test_unpadded_rows_go_with_their_like_only(rows: list[tuple[int, int]], max_items: int) -> None:
    calls = [np.arange(count * width).reshape(count, width) + 100 * i for i, (count, width) in enumerate(rows)]
    pieces = [piece for i, array in enumerate(calls) for piece in batch.pieces_of(i, {"x": array}, {})]
    parts: list[list[tuple[int, Any]]] = [[] for _ in calls]
    for chunk in batch.plan(pieces, max_items=max_items, max_weight=None, pad={}):
        joined = batch.join(chunk, {})
        assert 1 <= len(joined["x"]) <= max_items
        for piece, share in zip(chunk, batch.split(joined, chunk), strict=True):
            parts[piece.call].append((piece.start, share))
    for array, found in zip(calls, parts, strict=True):
        assert np.array_equal(batch.gather(found)["x"], array)


@given(
    weights=st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=6), min_size=1, max_size=8),
    max_items=st.integers(1, 7),
    max_weight=st.integers(1, 40),
)
def test_chunk_of_unpadded_rows_weighs_no_more_than_it_may(
    weights: list[list[int]], max_items: int, max_weight: int
) -> None:
    pieces = [
        piece
        for i, call in enumerate(weights)
        for piece in batch.pieces_of(i, {"x": [f"{i}.{row}" for row in range(len(call))]}, {}, call)
    ]
    chunks = batch.plan(pieces, max_items=max_items, max_weight=max_weight, pad={})
    seen = []
    for chunk in chunks:
        rows = [(piece.call, row) for piece in chunk for row in range(piece.start, piece.start + piece.rows)]
        assert batch.join(chunk, {})["x"] == [f"{call}.{row}" for call, row in rows]
        assert len(rows) <= max_items
        assert len(rows) == 1 or len(rows) * max(weights[call][row] for call, row in rows) <= max_weight
        seen += rows
    assert sorted(seen) == [(i, row) for i, call in enumerate(weights) for row in range(len(call))]


def test_every_full_chunk_is_full() -> None:
    pieces = batch.pieces_of(0, {"x": np.zeros((10, 1))}, {})
    chunks = batch.plan(pieces, max_items=4, max_weight=None, pad={})
    assert [[piece.rows for piece in chunk] for chunk in chunks] == [[4], [4], [2]]


def test_padding_fills_with_the_declared_value() -> None:
    rows = [np.array([1, 2, 3]), np.array([4])]
    pieces = batch.pieces_of(0, {"ids": rows}, {"ids": 7})
    assert batch.join(pieces, {"ids": 7})["ids"].tolist() == [[1, 2, 3], [4, 7, 7]]  # type: ignore[union-attr]


def test_one_call_is_not_copied() -> None:
    array = np.zeros((2, 2))
    (piece,) = batch.pieces_of(0, {"x": array}, {})
    assert batch.join([piece], {})["x"] is array


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"a": np.zeros(2), "b": np.zeros(3)}, "disagree in rows"),
        ({"a": np.zeros((0, 3))}, "have no rows"),
    ],
)
def test_tensors_without_common_rows_are_refused(tensors: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        batch.pieces_of(0, tensors, {})


@pytest.mark.parametrize("made", [np.zeros(3), np.float32(1), ["one"], None])
def test_outputs_with_other_rows_are_refused(made: Any) -> None:
    piece = Piece(0, 0, 2, {"x": np.zeros(2)})
    with pytest.raises(ModelError, match="output 'y': expected 2 rows"):
        batch.split({"y": made}, [piece])


def test_rows_of_differing_shapes_are_gathered_as_a_list() -> None:
    whole = batch.gather([(1, {"y": np.ones((1, 2))}), (0, {"y": np.zeros((1, 3))})])
    assert [row.tolist() for row in whole["y"]] == [[0, 0, 0], [1, 1]]
