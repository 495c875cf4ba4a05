"""Rows in Arrow as a model's rows, and back."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from errors import InvalidInput, NotFound
from models import columns
from models.arrays import DTYPES, Batch
from models.manifest import Tensor

FLOATS = Tensor("x", "FP32", (-1, 3))
TOKENS = Tensor("ids", "INT64", (-1, -1))
TEXT = Tensor("text", "BYTES", (-1,))


def nothing(key: str) -> bytes:
    raise NotFound(f"no object {key}")


def table(column: Any, *, name: str = "x", texts: bool = False, kind: pa.DataType | None = None) -> pa.Table:
    if texts:
        column, kind = [None if value is None else json.dumps(value) for value in column], pa.string()
    array = column if isinstance(column, (pa.Array, pa.ChunkedArray)) else pa.array(column, kind)
    field = pa.field("in:" + name, array.type, metadata=columns.JSON if texts else None)
    return pa.table([pa.array(range(len(array)), pa.int64()), array], schema=pa.schema([("row", pa.int64()), field]))


def rows(tensor: Tensor, made: pa.Table) -> list[Any]:
    return [np.asarray(row).tolist() for row in columns.decode([tensor], made, nothing).batch[tensor.name]]


def test_fixed_size_lists_are_read_where_they_lie() -> None:
    values = np.arange(12, dtype="f4")
    column = pa.FixedSizeListArray.from_arrays(pa.array(values), 3)
    decoded = columns.decode([FLOATS], table(column).slice(1), nothing)
    assert np.shares_memory(np.asarray(decoded.batch["x"]), values)
    assert np.asarray(decoded.batch["x"]).tolist() == values.reshape(4, 3)[1:].tolist()


@pytest.mark.parametrize("kind", [pa.list_(pa.float64()), pa.large_list(pa.int16()), pa.list_(pa.decimal128(5, 2), 3)])
def test_lists_of_other_numbers_are_converted(kind: pa.DataType) -> None:
    assert rows(FLOATS, table(pa.array([[1, 2, 3], [4, 5, 6]], kind))) == [[1, 2, 3], [4, 5, 6]]


def test_chunks_and_categories_are_read_as_what_they_stand_for() -> None:
    chunked = pa.chunked_array([["a", "b"], ["a"]]).dictionary_encode()
    assert rows(TEXT, table(chunked, name="text")) == ["a", "b", "a"]


def test_a_flat_list_serves_for_several_fixed_axes() -> None:
    tensor = Tensor("x", "UINT8", (-1, 2, 2))
    assert rows(tensor, table([[1, 2, 3, 4]])) == [[[1, 2], [3, 4]]]
    shaped = pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(8, dtype="u1").reshape(2, 2, 2))
    assert rows(tensor, table(shaped)) == np.arange(8).reshape(2, 2, 2).tolist()


def test_a_column_of_numbers_serves_for_an_axis_of_one() -> None:
    assert rows(Tensor("x", "FP32", (-1, 1)), table([1.5, 2.5])) == [[1.5], [2.5]]


def test_rows_of_different_lengths_are_a_list_of_arrays() -> None:
    batch = columns.decode([TOKENS], table([[1, 2], [3], [4, 5, 6]], name="ids"), nothing).batch
    assert [row.tolist() for row in batch["ids"]] == [[1, 2], [3], [4, 5, 6]]
    deep = Tensor("x", "FP32", (-1, -1, 2))
    assert rows(deep, table([[[1, 2]], [[3, 4], [5, 6]]])) == [[[1, 2]], [[3, 4], [5, 6]]]


@pytest.mark.parametrize(
    ("bad", "texts", "reason"),
    [
        (None, False, "null"), ([1, 2], False, "has 2 values"), ([1.0, None, 3.0], False, "null"),
        ([], False, "has 0 values"), ([1e300, 1, 1], False, "no room"),
        (None, True, "null"), ([1, 2], True, "3"), ([1.0, None, 3.0], True, "null"), ([], True, "empty"),
        ([1e300, 1, 1], True, "too large"), ([[1], [2], [3]], True, "has 1"), ("text", True, "shape"),
    ],
)  # fmt: skip
def test_a_bad_row_fails_alone(bad: Any, texts: bool, reason: str) -> None:
    good = [1.0, 2.0, 3.0]
    decoded = columns.decode([FLOATS], table([good, bad, good, good, bad], texts=texts), nothing)
    assert (list(decoded.kept), list(decoded.faults)) == ([0, 2, 3], [1, 4])
    assert np.asarray(decoded.batch["x"]).tolist() == [good] * 3
    assert decoded.faults[1].pointer == "#/inputs/x"
    assert reason in decoded.faults[1].detail


def test_nan_is_a_fault_unless_it_is_declared() -> None:
    column = [[1.0, float("nan"), 2.0], [0.0, 0.0, 0.0]]
    assert list(columns.decode([FLOATS], table(column), nothing).faults) == [0]
    declared = Tensor("x", "FP32", (-1, 3), nan=True)
    assert not columns.decode([declared], table(column), nothing).faults
    assert np.isnan(columns.decode([declared], table([[None, 1.0, 2.0]]), nothing).batch["x"][0][0])


def test_rows_are_lost_for_a_fault_in_any_input_and_only_there() -> None:
    made = table([[1.0, 2.0, 3.0]] * 4).append_column("in:text", pa.array(["a", None, "c", "d"]))
    bad = made.set_column(1, "in:x", pa.array([[1.0, 2.0, 3.0]] * 3 + [[1.0]]))
    decoded = columns.decode([FLOATS, TEXT], bad, nothing)
    assert (list(decoded.kept), decoded.batch["text"], len(decoded.batch["x"])) == ([0, 2], ["a", "c"], 2)
    assert [fault.pointer for fault in decoded.faults.values()] == ["#/inputs/text", "#/inputs/x"]


def test_integers_beyond_the_datatype_are_faults() -> None:
    tensor = Tensor("x", "INT8", (-1,))
    decoded = columns.decode([tensor], table([1, 200, -128, 127]), nothing)
    assert (list(decoded.kept), list(decoded.faults)) == ([0, 2, 3], [1])
    exact = Tensor("x", "INT64", (-1,))
    assert list(columns.decode([exact], table(pa.array([2**63, 1], pa.uint64())), nothing).faults) == [0]


def test_json_texts_may_hold_base64_references_and_a_row_axis() -> None:
    objects = {"tenant/objects/a": b"\x00picture"}
    made = table([{"b64": "AP8="}, {"object": "tenant/objects/a"}, "text", ["text"]], name="text", texts=True)
    decoded = columns.decode([TEXT], made, lambda key: objects[key])
    assert decoded.batch["text"] == [b"\x00\xff", b"\x00picture", "text", "text"]
    raw = table([{"b64": "AACAPwAAAEAAAEBA"}, [1, 2, 3], [[4, 5, 6]]], texts=True)
    assert rows(FLOATS, raw) == [[1, 2, 3], [1, 2, 3], [4, 5, 6]]


def test_a_reference_to_nothing_and_two_rows_in_one_are_faults() -> None:
    made = table([{"object": "gone"}, ["one", "two"], "fine"], name="text", texts=True)
    decoded = columns.decode([TEXT], made, nothing)
    assert decoded.batch["text"] == ["fine"]
    assert ["not there" in decoded.faults[0].detail, "has 2" in decoded.faults[1].detail] == [True, True]


@pytest.mark.parametrize(
    ("tensor", "column", "said"),
    [
        (FLOATS, ["a"], "holds string"), (FLOATS, [1.0], "holds double"), (TEXT, [7], "holds int64"),
        (FLOATS, pa.array([[1.0, 2.0]], pa.list_(pa.float64(), 2)), "holds 2 values"), (TOKENS, [[1.5]], "list"),
    ],
)  # fmt: skip
def test_a_column_of_a_wrong_type_is_refused_before_its_rows_are_read(tensor: Tensor, column: Any, said: str) -> None:
    made = table(column, name=tensor.name)
    (fault,) = columns.check([tensor], made.schema)
    assert said in fault.detail
    with pytest.raises(InvalidInput):
        columns.decode([tensor], made, nothing)


def test_a_missing_column_is_named() -> None:
    (fault,) = columns.check([FLOATS], pa.schema([("row", pa.int64()), ("in:y", pa.float32())]))
    assert (fault.pointer, fault.detail) == ("#/inputs/x", "has no column 'in:x'")


SHAPES = st.lists(st.sampled_from([-1, 1, 2, 3]), max_size=2)


@given(st.data(), st.sampled_from(sorted(DTYPES)), SHAPES, st.integers(1, 5), st.booleans())
def test_what_becomes_a_column_comes_back_as_the_same_rows(
    data: st.DataObject, datatype: str, inner: list[int], count: int, even: bool
) -> None:
    tensor = Tensor("x", datatype, (-1, *inner))
    shapes = [tuple(data.draw(st.integers(1, 3)) if size == -1 else size for size in inner) for _ in range(count)]
    if even:
        shapes = shapes[:1] * count
    values = {"allow_nan": False, "allow_infinity": False} if datatype.startswith("FP") else {}
    parts = [data.draw(hnp.arrays(DTYPES[datatype], shape, elements=values or None)) for shape in shapes]
    column = columns.to_column(tensor, np.stack(parts) if len(set(shapes)) == 1 else parts)
    assert column.type == columns.output_schema([tensor]).field("out:x").type
    read = columns.decode([tensor], table(column), nothing)
    assert not read.faults
    assert [np.asarray(row).tolist() for row in read.batch["x"]] == [part.tolist() for part in parts]


@given(st.lists(st.one_of(st.text(), st.binary()), min_size=1, max_size=5))
def test_bytes_become_json_texts_and_come_back(values: Sequence[str | bytes]) -> None:
    column = columns.to_column(TEXT, list(values))
    made = pa.table(
        [pa.array(range(len(values)), pa.int64()), column],
        schema=pa.schema([("row", pa.int64()), pa.field("in:text", pa.string(), metadata=columns.JSON)]),
    )
    assert columns.decode([TEXT], made, nothing).batch["text"] == list(values)


def test_an_output_file_holds_what_came_along_and_reads_back() -> None:
    made = table([[1.0, 2.0, 3.0]] * 3).append_column("keep:when", pa.array([1, 2, 3], pa.timestamp("s")))
    outputs: Batch = {"y": np.array([1, 2], "f4"), "label": ["a", b"\xff"]}
    tensors = [Tensor("y", "FP32", (-1,)), Tensor("label", "BYTES", (-1,))]
    whole = columns.output_table(tensors, made, [0, 2], outputs)
    pieces: list[bytes] = []
    columns.write_file([whole.slice(0, 1), whole.slice(1)], pieces.append)
    read = columns.read_file(b"".join(pieces))
    assert read.equals(whole)
    assert read.column("row").to_pylist() == [0, 2]
    assert read.column("out:label").to_pylist() == ['"a"', '{"b64":"/w=="}']
    assert columns.is_json(read.schema.field("out:label"))


def test_what_is_no_arrow_file_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no Arrow IPC file"):
        columns.read_file(b"row,x\n1,2\n")
