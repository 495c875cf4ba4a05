"""Rows to calls of a step's model and back: whatever is absent, split or ragged, every unit gets its own output."""

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from errors import ModelError
from models.arrays import Batch
from models.composing import Node, Wire
from models.graph import Source
from models.manifest import Manifest, Step, Tensor
from models.splitting import MOST_CALLS, merge, settled, split

PAGE, PARTS, FLAG, SIZE = (Source("find", name) for name in ("page", "parts", "flag", "size"))
#: Text in, the same text in capitals and its length out.
MODEL = Manifest(
    name="shout",
    runtime="python",
    inputs=(Tensor("text", "BYTES", (-1,)), Tensor("size", "FP32", (-1, -1))),
    outputs=(Tensor("loud", "BYTES", (-1,)), Tensor("length", "FP32", (-1,))),
)


def node(**changes: Any) -> Node:
    step = Step(name="shout", model="shout", inputs={}, otherwise=changes.pop("otherwise", {}))
    inputs = {"text": Wire((PARTS,), True), "size": Wire((SIZE,), False)}
    return Node(step, MODEL, changes.pop("inputs", inputs), **changes)


def run(tensors: Batch) -> Batch:
    """The model; every tensor has its rows."""
    assert all(len(rows) == len(tensors["text"]) for rows in tensors.values())
    made = np.array([len(text) for text in tensors["text"]], np.float32)
    return {"loud": [text.upper() for text in tensors["text"]], "length": made}


def result(given_node: Node, values: dict[Source, Any], rows: int) -> dict[str, Any]:
    made = split(given_node, values, rows)
    merged = merge(given_node, made, [run(call.tensors) for call in made.calls])
    return {source.name: plain(column) for source, column in merged.items()}


def plain(column: Any) -> Any:
    return [
        plain(row) if isinstance(row, (list, np.ndarray)) and np.ndim(row) else row if row is None else value(row)
        for row in column
    ]


def value(row: Any) -> Any:
    return row.item() if isinstance(row, (np.ndarray, np.generic)) else row


texts = st.text("abc", max_size=3)


@st.composite
def pages(draw: st.DrawFn) -> dict[Source, Any]:
    """Rows with lists of items, a condition an item, and a ragged array a row; rows and items may be absent."""
    rows = draw(st.integers(1, 5))
    parts = draw(st.lists(st.none() | st.lists(st.none() | texts, max_size=6), min_size=rows, max_size=rows))
    flags = [None if row is None else [draw(st.none() | st.booleans()) for _ in row] for row in parts]
    sizes = [draw(st.none() | st.integers(1, 3).map(lambda n: np.ones(n, np.float32))) for _ in parts]
    return {PARTS: parts, FLAG: flags, SIZE: sizes}


@given(pages(), st.sampled_from(["", "when", "unless"]), st.booleans())
def test_every_item_gets_its_own_output_whatever_is_absent(
    values: dict[Source, Any], condition: str, filled: bool
) -> None:
    changes: dict[str, Any] = {condition: Wire((FLAG,), True)} if condition else {}
    otherwise = {"loud": "-", "length": -1} if filled else {}
    got = result(node(for_each=PARTS, otherwise=otherwise, **changes), values, len(values[PARTS]))

    def expected(row: int, item: int) -> str | None:
        text, flag = values[PARTS][row][item], values[FLAG][row][item]
        runs = text is not None and values[SIZE][row] is not None
        if condition:
            runs = runs and flag is (condition == "when")
        return text.upper() if runs else "-" if filled else None

    loud = [[expected(row, item) for item in range(len(parts or ()))] for row, parts in enumerate(values[PARTS])]
    assert got["loud"] == loud
    lengths = [[None if text is None else -1 if text == "-" else len(text) for text in row] for row in loud]
    assert got["length"] == lengths


@given(st.lists(st.none() | texts, min_size=1, max_size=6), st.lists(st.none() | texts, min_size=6, max_size=6))
def test_the_first_source_that_is_not_absent_is_taken(first: list[Any], second: list[Any]) -> None:
    sizes = np.ones((len(first), 2), np.float32)
    wires = {"text": Wire((PARTS, PAGE), False), "size": Wire((SIZE,), False)}
    got = result(node(inputs=wires), {PARTS: first, PAGE: second, SIZE: sizes}, len(first))
    taken = [b if a is None else a for a, b in zip(first, second, strict=False)]
    assert got["loud"] == [None if text is None else text.upper() for text in taken]


def test_rows_that_need_no_look_are_one_call_of_the_very_same_arrays() -> None:
    wires = {"text": Wire((PAGE,), False), "size": Wire((SIZE,), False)}
    sizes = np.ones((3, 2), np.float32)
    (call,) = split(node(inputs=wires), {PAGE: ["a", "b", "c"], SIZE: sizes}, 3).calls
    assert call.units == [0, 1, 2]
    assert call.tensors["size"] is sizes


def test_items_make_small_calls_so_that_they_share_batches_and_never_too_many() -> None:
    few: dict[Source, Any] = {PARTS: [["a"] * 3, ["b"]], SIZE: np.ones((2, 1), np.float32)}
    assert [call.units for call in split(node(for_each=PARTS), few, 2).calls] == [[0], [1], [2], [3]]
    many: dict[Source, Any] = {PARTS: [["a"] * 1000], SIZE: np.ones((1, 1), np.float32)}
    made = split(node(for_each=PARTS), many, 1).calls
    assert len(made) <= MOST_CALLS
    assert [unit for call in made for unit in call.units] == list(range(1000))


def test_rows_that_differ_in_shape_are_calls_of_their_own() -> None:
    wires = {"text": Wire((PAGE,), False), "size": Wire((SIZE,), False)}
    values: dict[Source, Any] = {PAGE: ["a", "b"], SIZE: [np.ones(1, np.float32), np.ones(2, np.float32)]}
    assert [call.units for call in split(node(inputs=wires), values, 2).calls] == [[0], [1]]


def test_no_items_make_no_call_and_an_empty_column() -> None:
    values: dict[Source, Any] = {PARTS: [[], None], SIZE: np.ones((2, 1), np.float32)}
    made = split(node(for_each=PARTS), values, 2)
    assert made.calls == []
    merged = merge(node(for_each=PARTS), made, [])
    assert merged[Source("shout", "loud")] == [[], []]
    assert [row.shape for row in merged[Source("shout", "length")]] == [(0,), (0,)]


def test_empty_json_list_is_an_array_without_items() -> None:
    boxes = Tensor("boxes", "FP64", (-1, -1, 4, 2))
    assert settled(boxes, []).shape == (0, 4, 2)
    with pytest.raises(ModelError, match=r"boxes: shape \[4, 2\] is taken, and \[0\] came"):
        settled(Tensor("boxes", "FP64", (-1, 4, 2)), [])


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [
        ([["one"]], "size: FP32 is taken, and <U3 came"),
        ([[[1.0], [1.0, 2.0]]], "size: FP32 is taken, and ragged lists came"),
        ([[[1.0]]], r"size: shape \[-1\] is taken, and \[1, 1\] came"),
    ],
)
def test_json_that_does_not_fit_is_refused_by_name(sizes: Any, reason: str) -> None:
    wires = {"text": Wire((PAGE,), False), "size": Wire((SIZE,), False)}
    with pytest.raises(ModelError, match=reason):
        split(node(inputs=wires), {PAGE: ["a"], SIZE: sizes}, 1)


def test_items_that_are_no_list_and_lists_too_short_are_refused() -> None:
    with pytest.raises(ModelError, match=r"row 0 of find\.parts is int, and no list of items"):
        split(node(for_each=PARTS), {PARTS: [7], SIZE: [[1.0]]}, 1)
    wires = {"text": Wire((PAGE,), True), "size": Wire((SIZE,), False)}
    with pytest.raises(ModelError, match=r"text: row 0 of find\.page has no item 1, and that of find\.parts has"):
        split(node(for_each=PARTS, inputs=wires), {PARTS: [["a", "b"]], PAGE: [["x"]], SIZE: [[1.0]]}, 1)
