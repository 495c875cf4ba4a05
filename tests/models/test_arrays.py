"""A job's JSON becomes rows, wherever the values stand."""

import base64
import io
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from errors import InvalidInput
from models import arrays, outputs
from models.manifest import Batching, Manifest, Tensor


def manifest(*inputs: Tensor) -> Manifest:
    rowed = all(tensor.shape[:1] == (-1,) for tensor in inputs)
    output = Tensor("y", "FP32", (-1,) if rowed else (1,))
    return Manifest(name="m", runtime="python", inputs=inputs, outputs=(output,), batching=Batching(max_items=1))


def decoded(tensor: Tensor, value: Any, stored: dict[str, bytes] | None = None) -> Any:
    return arrays.decode(manifest(tensor), {"x": value}, (stored or {}).__getitem__)["x"]


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_one_row_gets_its_row_axis() -> None:
    row = decoded(Tensor("x", "FP32", (-1, 2)), [1, 2])
    assert row.shape == (1, 2)
    assert row.dtype == np.float32
    assert decoded(Tensor("x", "BYTES", (-1,)), "text") == ["text"]


def test_tensor_without_a_row_axis_keeps_its_shape() -> None:
    assert decoded(Tensor("x", "INT16", (2, 2)), [[1, 2], [3, 4]]).shape == (2, 2)


def test_strings_stay_strings_and_base64_becomes_bytes() -> None:
    assert decoded(Tensor("x", "BYTES", (-1,)), ["text", {"b64": "AAE="}]) == ["text", b"\0\1"]


def test_raw_data_can_be_written_to() -> None:
    data = np.array([[1, 2], [3, 4]], dtype="<f4")
    rows = decoded(Tensor("x", "FP32", (-1, 2)), {"b64": base64.b64encode(data.tobytes()).decode()})
    rows[0, 0] = 9
    assert rows.tolist() == [[9, 2], [3, 4]]


def test_words_for_nan_become_nan_where_declared() -> None:
    rows = decoded(Tensor("x", "FP32", (-1,), nan=True), ["NaN", None, "-Infinity", 1])
    assert np.isnan(rows[:2]).all()
    assert rows[2:].tolist() == [-np.inf, 1]


def test_stored_json_is_taken_as_if_it_were_inline() -> None:
    rows = decoded(Tensor("x", "FP32", (-1, 2)), {"object": "k", "as": "json"}, {"k": b"[[1, 2], [3, 4]]"})
    assert rows.shape == (2, 2)


def test_upload_is_one_row_of_bytes() -> None:
    assert decoded(Tensor("x", "BYTES", (-1,)), {"object": "k", "as": "bytes"}, {"k": b"\x89PNG"}) == [b"\x89PNG"]


@pytest.mark.parametrize(
    ("datatype", "array", "dtype"),
    [
        ("FP32", np.arange(4.0).reshape(2, 2), "float32"),
        ("FP32", np.arange(4, dtype=">i2").reshape(2, 2), "float32"),
        ("INT8", np.arange(4).reshape(2, 2), "int8"),
        ("FP64", np.asfortranarray(np.arange(4.0).reshape(2, 2)), "float64"),
        ("BOOL", np.array([[True, False]]), "bool"),
        ("FP32", np.array([1.0, 2.0]), "float32"),
    ],
)
def test_npy_upload_is_converted_where_no_value_is_lost(datatype: str, array: Any, dtype: str) -> None:
    rows = decoded(Tensor("x", datatype, (-1, 2)), {"object": "k", "as": "bytes"}, {"k": npy(array)})
    assert rows.dtype == dtype
    assert rows.tolist() == array.reshape(-1, 2).tolist()


def headed(header: str) -> bytes:
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"PK\3\4", "must be a .npy file"),
        (npy(np.arange(4.0).reshape(2, 2))[:-1], "announces 32 bytes and holds 31"),
        (headed("{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776, 1048576)}"), "announces"),
        (headed("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}"), "holds object, not numbers"),
        (headed("__import__('os')"), "must be a .npy file"),
        (npy(np.array(["a", "b"])), "not numbers"),
        (npy(np.arange(6.0).reshape(2, 3)), "has shape [2, 3] where [-1, 2] is declared"),
        (npy(np.zeros((0, 2))), "has shape [0, 2]"),
        (npy(np.array([[np.nan, 1]])), "must be finite"),
        (npy(np.array([[1e300, 1]])), "holds values outside FP32"),
        (npy(np.array([[1j, 1]])), "not numbers"),
    ],
)
def test_npy_upload_that_does_not_fit_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        decoded(Tensor("x", "FP32", (-1, 2)), {"object": "k", "as": "bytes"}, {"k": data})
    assert said in caught.value.faults[0].detail
    assert caught.value.faults[0].pointer == "#/inputs/x"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"[[1, 2", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"object": "another"}', "must not be a reference again"),
        (b"[[1, 2, 3]]", "must have 2 items"),
        (b'"text"', "must have shape"),
    ],
)
def test_stored_json_that_does_not_fit_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(InvalidInput, match=r"#/inputs/x") as caught:
        decoded(Tensor("x", "FP32", (-1, 2)), {"object": "k", "as": "json"}, {"k": data})
    assert said in caught.value.faults[0].detail


def test_rows_behind_references_must_agree_too() -> None:
    found = manifest(Tensor("a", "FP32", (-1,)), Tensor("b", "BYTES", (-1,)))
    with pytest.raises(InvalidInput, match="has 1 rows where a has 2"):
        arrays.decode(found, {"a": [1, 2], "b": {"object": "k", "as": "bytes"}}, {"k": b"one"}.__getitem__)


def test_job_that_was_pushed_unchecked_is_checked() -> None:
    with pytest.raises(InvalidInput, match="is missing"):
        arrays.decode(manifest(Tensor("x", "FP32", (-1,))), {}, dict[str, bytes]().__getitem__)


@given(
    array=st.sampled_from(["FP32", "INT16", "UINT8", "FP64", "BOOL"]).flatmap(
        lambda name: hnp.arrays(
            arrays.DTYPES[name],
            hnp.array_shapes(min_dims=2, max_dims=3, max_side=4),
            elements={"allow_nan": False, "allow_infinity": False} if name.startswith("FP") else None,
        )
    )
)
def test_what_is_encoded_decodes_to_itself(array: Any) -> None:
    """Outputs of one model are inputs of the next, through JSON and through raw data."""
    name = next(name for name, dtype in arrays.DTYPES.items() if dtype == array.dtype)
    tensor = Tensor("x", name, (-1,) * array.ndim)
    text = json.loads(outputs.encode({"x": array}))["x"]
    raw = {"b64": base64.b64encode(array.tobytes()).decode(), "shape": list(array.shape)}
    for value in (text, raw):
        rows = decoded(tensor, value)
        assert rows.dtype == array.dtype
        assert np.array_equal(rows, array)
