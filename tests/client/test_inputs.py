import array
import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock import InvalidInput, StoredObject
from penstock.inputs import INLINE_BYTES, Upload, encode_inputs

UPLOADED = {"object": "obj_1"}


def upload(_source: bytes | Path) -> str:
    return "obj_1"


def never(_source: bytes | Path) -> str:
    raise AssertionError("nothing to upload here")


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def one(value: Any, upload: Upload = never) -> Any:
    return encode_inputs({"x": value}, upload)["x"]


@given(plain)
def test_what_is_json_already_stays_as_it_is(value: Any) -> None:
    assert one(value) == value


def test_small_bytes_go_as_base64_and_large_ones_are_uploaded() -> None:
    assert one(b"abc") == {"b64": base64.b64encode(b"abc").decode()}
    assert one(memoryview(b"abc")) == one(bytearray(b"abc")) == one(b"abc")
    assert one(bytes(INLINE_BYTES + 1), upload) == UPLOADED


def test_small_files_go_as_base64_and_large_ones_are_uploaded(tmp_path: Path) -> None:
    small, large = tmp_path / "small.png", tmp_path / "large.png"
    small.write_bytes(b"abc")
    large.write_bytes(bytes(INLINE_BYTES + 1))
    assert one([small]) == [{"b64": "YWJj"}]
    assert one(large, upload) == UPLOADED


def test_parts_of_an_input_are_never_references(tmp_path: Path) -> None:
    (page,) = one([bytes(INLINE_BYTES + 1)])
    assert list(page) == ["b64"]
    with pytest.raises(InvalidInput, match="must be the whole input"):
        one([tmp_path / "x.npy"])


def test_an_npy_file_is_uploaded_whatever_its_size(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros(2))
    assert one(tmp_path / "x.npy", upload) == UPLOADED


def test_an_upload_refers_to_itself() -> None:
    assert one(StoredObject("obj_1", 3)) == UPLOADED


def test_arrays_and_their_scalars_become_lists_and_numbers() -> None:
    value = [np.arange(6, dtype=np.float32).reshape(2, 3), np.int64(3), array.array("d", [1.5])]
    assert json.loads(json.dumps(one(value))) == [[[0, 1, 2], [3, 4, 5]], 3, [1.5]]


def test_what_has_no_form_is_refused_with_its_place() -> None:
    with pytest.raises(InvalidInput, match="inputs/x/1: cannot send a object") as caught:
        one([1, object()])
    assert caught.value.errors[0].pointer == "#/inputs/x/1"


def test_a_file_that_is_not_there_is_refused_with_its_place(tmp_path: Path) -> None:
    for value in (tmp_path / "none.png", [tmp_path / "none.png"]):
        with pytest.raises(InvalidInput, match=r"inputs/x.*: cannot read .*\(no such file"):
            one(value)
