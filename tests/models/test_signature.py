"""Inputs that fit pass quickly; what does not fit is named by a JSON pointer."""

import base64
import json
import math
import struct
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import InvalidInput
from models import signature
from models.datatypes import INPUT_DATATYPES
from models.faultfinding import MAX_FAULTS, Finder
from models.manifest import Batching, Manifest, Tensor


def manifest(*inputs: Tensor, max_items: int = 8) -> Manifest:
    rowed = all(tensor.shape[:1] == (-1,) for tensor in inputs)
    output = Tensor("y", "FP32", (-1,) if rowed else (1,))
    return Manifest(
        name="m", runtime="python", inputs=inputs, outputs=(output,), batching=Batching(max_items=max_items)
    )


def one(datatype: str, *shape: int, nan: bool = False) -> Manifest:
    return manifest(Tensor("x", datatype, shape, nan=nan))


def b64(data: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(data).decode()}


def faults(found: Manifest, inputs: dict[str, Any]) -> list[tuple[str, str]]:
    with pytest.raises(InvalidInput) as caught:
        signature.check(found, inputs)
    return [(fault.pointer, fault.detail) for fault in caught.value.faults]


@pytest.mark.parametrize(
    ("found", "value", "rows"),
    [
        (one("FP32", -1, 2), [[1, 2.5], [3, 4]], 2),
        (one("FP32", -1, 2), [1, 2], 1),
        (one("FP32", -1), 3.5, 1),
        (one("FP32", -1, -1), [[1, 2, 3]], 1),
        (one("FP32", 2, 2), [[1, 2], [3, 4]], 1),
        (one("FP32", 3), [1, 2, 3], 1),
        (one("FP32", -1), [3.4028235e38, -3.4028235e38], 2),
        (one("FP16", -1), [65519], 1),
        (one("BOOL", -1), [True, False], 2),
        (one("UINT8", -1), [0, 255], 2),
        (one("INT64", -1), [-(2**63), 2**63 - 1], 2),
        (one("BYTES", -1), "one sentence", 1),
        (one("BYTES", -1), ["one", {"b64": "AAAA"}], 2),
        (one("BYTES", -1), {"b64": ""}, 1),
        (one("BYTES", -1, 2), [["a", "b"], ["c", "d"], ["e", "f"]], 3),
        (one("FP32", -1, 2), b64(struct.pack("<4f", 1, 2, 3, 4)), 2),
        (one("FP16", -1, 2), b64(struct.pack("<2e", 1, 2)), 1),
        (one("FP64", -1, -1), b64(struct.pack("<6d", *range(6))) | {"shape": [3, 2]}, 3),
        (one("BOOL", -1), b64(b"\0\1\1"), 3),
        (one("FP32", -1, nan=True), ["NaN", "-Infinity", None, 1], 4),
        (one("FP32", -1, nan=True), b64(struct.pack("<2f", math.nan, 1)), 2),
        (one("FP32", -1, 2), {"object": "obj_1"}, 1),
        (one("BYTES", -1), {"object": "key", "as": "json"}, 1),
    ],
)
def test_inputs_that_fit_are_counted_in_rows(found: Manifest, value: Any, rows: int) -> None:
    assert signature.check(found, {"x": value}) == rows


@pytest.mark.parametrize(
    ("found", "value", "pointer", "said"),
    [
        (one("FP32", -1, 2), [[1, 2, 3]], "#/inputs/x/0", "must have 2 items, and has 3"),
        (one("FP32", -1, -1), [[1, 2], [3]], "#/inputs/x/1", "ragged"),
        (one("FP32", -1, 2), [[1, 2], 3], "#/inputs/x/1", "must be a list, not a number"),
        (one("FP32", -1, 2), [[1, [2]]], "#/inputs/x/0/1", "must be a number, not a list"),
        (one("FP32", -1, 2), [[[1, 2]]], "#/inputs/x", "must have shape [-1, 2], so 2 nested lists, and has 3"),
        (one("FP32", -1, 2), 1, "#/inputs/x", "and has 0"),
        (one("FP32", -1, 2), [], "#/inputs/x", "must not be empty"),
        (one("FP32", -1, 2), [[]], "#/inputs/x/0", "must not be empty"),
        (one("FP32", -1, 2), [[1, True]], "#/inputs/x/0/1", "must be a number, not a boolean"),
        (one("FP32", -1, 2), [[1, "2"]], "#/inputs/x/0/1", "must be a number, not a string"),
        (one("FP32", -1, 2), [[1, None]], "#/inputs/x/0/1", "must be a number, not null"),
        (one("FP32", -1, 2), [[1, math.nan]], "#/inputs/x/0/1", "must be finite, not nan"),
        (one("FP32", -1, 2), [[1, math.inf]], "#/inputs/x/0/1", "must be finite, not inf"),
        (one("FP32", -1, 2), [[1, "NaN"]], "#/inputs/x/0/1", "must be finite, not NaN"),
        (one("FP32", -1, 2), [[1, 1e39]], "#/inputs/x/0/1", "is too large for FP32"),
        (one("FP32", -1, 2), [[1, 10**400]], "#/inputs/x/0/1", "is too large for FP32"),
        (one("FP16", -1), [70000], "#/inputs/x/0", "is too large for FP16"),
        (one("INT32", -1), [1.0], "#/inputs/x/0", "must be an integer, not a number"),
        (one("INT32", -1), [True], "#/inputs/x/0", "must be an integer, not a boolean"),
        (one("INT8", -1), [1, 128], "#/inputs/x/1", "is outside INT8: -128 to 127"),
        (one("UINT64", -1), [-1], "#/inputs/x/0", "is outside UINT64"),
        (one("BOOL", -1), [1], "#/inputs/x/0", "must be true or false"),
        (one("BYTES", -1), [1], "#/inputs/x/0", "must be a string"),
        (one("BYTES", -1), [{"b64": "A"}], "#/inputs/x/0", "not valid base64"),
        (one("BYTES", -1), [{"b64": "AAAA", "x": 1}], "#/inputs/x/0", "unknown key 'x'"),
        (one("BYTES", -1), [{"object": "obj_1"}], "#/inputs/x/0", "must not be a reference"),
        (one("FP32", -1, 2), {"b64": "AA=="}, "#/inputs/x", "holds 1 bytes, no multiple of 4"),
        (one("FP32", -1, 2), {"b64": ""}, "#/inputs/x", "must not be empty"),
        (one("FP32", -1, 2), {"b64": "Ä"}, "#/inputs/x", "not valid base64"),
        (one("FP32", -1, 2), {"b64": 3}, "#/inputs/x", "b64 must be a string"),
        (one("FP32", -1, 2), b64(bytes(12)), "#/inputs/x", "do not fill shape [-1, 2]"),
        (one("FP32", -1, -1), b64(bytes(12)), "#/inputs/x", 'needs a "shape"'),
        (one("FP32", -1, 2), b64(bytes(16)) | {"shape": [1, 4]}, "#/inputs/x", "does not fit the declared"),
        (one("FP32", -1, 2), b64(bytes(16)) | {"shape": [3, 2]}, "#/inputs/x", "needs 6"),
        (one("FP32", -1, 2), b64(bytes(16)) | {"shape": "2"}, "#/inputs/x", "must be a list"),
        (one("FP32", -1, 2), b64(bytes(16)) | {"shape": [-2, 2]}, "#/inputs/x", "must hold positive sizes"),
        (one("FP32", -1, 2), b64(bytes(16)) | {"shape": [2**70, 2]}, "#/inputs/x", "must hold positive sizes"),
        (one("FP32", -1, -1), b64(bytes(16)) | {"shape": [2**31, 2**31]}, "#/inputs/x", "announces more than"),
        (one("FP32", -1), b64(struct.pack("<2f", 1, math.nan)), "#/inputs/x", "must be finite"),
        (one("FP16", -1), b64(struct.pack("<2e", 1, math.inf)), "#/inputs/x", "must be finite"),
        (one("BOOL", -1), b64(b"\2"), "#/inputs/x", "neither 0 nor 1"),
        (one("FP32", -1), {"numbers": [1]}, "#/inputs/x", "must be numbers"),
        (one("FP32", -1), {"object": 3}, "#/inputs/x/object", "must be the id"),
        (one("FP32", -1), {"object": "a", "as": "pickle"}, "#/inputs/x/as", 'must be "bytes" or "json"'),
        (one("FP32", -1), {"object": "a", "b64": ""}, "#/inputs/x/b64", "is unknown here"),
    ],
)
def test_inputs_that_do_not_fit_are_named_by_place(found: Manifest, value: Any, pointer: str, said: str) -> None:
    (fault,) = faults(found, {"x": value})
    assert fault[0] == pointer
    assert said in fault[1]


def test_missing_and_unknown_inputs_are_named() -> None:
    found = faults(one("FP32", -1), {"a/b~c d": 1})
    assert found == [
        ("#/inputs/x", "is missing"),
        ("#/inputs/a~1b~0c%20d", "is no input of m; its inputs are x"),
    ]


def test_inputs_that_disagree_in_rows_are_named() -> None:
    found = manifest(Tensor("a", "FP32", (-1,)), Tensor("b", "BYTES", (-1,)))
    assert faults(found, {"a": [1, 2], "b": ["one"]}) == [("#/inputs/b", "has 1 rows where a has 2")]
    assert signature.check(found, {"a": [1, 2], "b": {"object": "unknown-rows"}}) == 2


def test_a_thousand_faults_are_reported_as_sixteen() -> None:
    assert len(faults(one("FP32", -1), {"x": ["no"] * 1000})) == MAX_FAULTS
    assert len(faults(one("FP32", -1), dict.fromkeys(map(str, range(1000)), 1))) == MAX_FAULTS


def test_one_bad_element_behind_a_million_good_ones_is_found_quickly() -> None:
    started = time.perf_counter()
    assert faults(one("FP32", -1), {"x": [1.5] * 10**6 + ["no"]}) == [
        ("#/inputs/x/1000000", "must be a number, not a string")
    ]
    # Far above what it takes, far below what looking at each element would.
    assert time.perf_counter() - started < 2


def test_deep_nesting_is_not_followed() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    assert faults(one("FP32", -1, 2), {"x": value})[0][0] == "#/inputs/x"
    while value:  # taken apart by hand: the interpreter frees nested lists recursively
        value = value[0]


def test_a_name_of_a_megabyte_is_cut() -> None:
    assert len(faults(one("FP32", -1), {"x": 1, "\ud800" + "n" * 2**20: 1})[0][0]) < 200


NUMBERS = st.one_of(st.integers(-(2**70), 2**70), st.floats(), st.booleans(), st.none(), st.text(max_size=3))
VALUES = st.recursive(NUMBERS, lambda inner: st.lists(inner, max_size=3), max_leaves=12)


@given(datatype=st.sampled_from(INPUT_DATATYPES), value=VALUES, nan=st.booleans())
def test_quick_and_thorough_pass_agree(datatype: str, value: Any, nan: bool) -> None:
    """What the quick pass accepts has no faults; what it does not accept has, or is one of NaN's spellings."""
    tensor = Tensor("x", datatype, (-1, 2), nan=nan)
    found: list[Any] = []
    thorough = Finder(tensor, True, found).search(value)
    quick = signature.nested_rows(tensor, value, True)
    if quick is not None:
        assert not found
        assert quick == thorough
    elif not found:
        assert any(word in json.dumps(value) for word in ("NaN", "Infinity", "null", "e+"))


@given(rows=st.lists(st.tuples(st.floats(width=32, allow_nan=False, allow_infinity=False)), min_size=1, max_size=5))
def test_any_finite_number_of_its_width_fits(rows: list[tuple[float]]) -> None:
    assert signature.check(one("FP32", -1, 1), {"x": [list(row) for row in rows]}) == len(rows)
