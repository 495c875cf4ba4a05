"""What a model returns is held against what it declared."""

import json
from typing import Any

import numpy as np
import pytest

from errors import ModelError
from models import outputs
from models.arrays import Batch
from models.manifest import Batching, Manifest, Tensor


def manifest(*tensors: Tensor) -> Manifest:
    return Manifest(
        name="m",
        runtime="python",
        inputs=(Tensor("x", "FP32", (-1,)),),
        outputs=tensors,
        batching=Batching(max_items=1),
    )


def one(datatype: str, *shape: int, nan: bool = False) -> Manifest:
    return manifest(Tensor("y", datatype, shape, nan=nan))


@pytest.mark.parametrize(
    ("found", "value", "dtype"),
    [
        (one("FP32", -1, 2), np.ones((3, 2)), "float32"),
        (one("FP32", -1, 2), [[1, 2], [3, 4], [5, 6]], "float32"),
        (one("FP32", -1), np.array([1, np.nan, 3]), "float32"),
        (one("INT8", -1), [1, 2, 127], "int8"),
        (one("BOOL", -1), [True, False, True], "bool"),
        (one("FP32", -1, -1), np.ones((3, 7), np.float32), "float32"),
    ],
)
def test_outputs_are_cast_where_no_value_is_lost(found: Manifest, value: Any, dtype: str) -> None:
    tensor = found.outputs[0]
    allowed = manifest(Tensor("y", tensor.datatype, tensor.shape, nan=True))
    assert outputs.validate(allowed, {"y": value}, 3)["y"].dtype == dtype  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("found", "value", "said"),
    [
        (one("FP32", -1, 2), np.ones((3, 3)), "output 'y': expected FP32 [3, 2], got float64 [3, 3]"),
        (one("FP32", -1, 2), np.ones((4, 2)), "output 'y': expected FP32 [3, 2], got float64 [4, 2]"),
        (one("FP32", -1, 2), np.ones(3), "got float64 [3]"),
        (one("FP32", -1, 2), [[1, 2], [3], [4]], "got ragged rows"),
        (one("INT32", -1), [1.0, 2.0, 3.0], "expected INT32, got float64"),
        (one("INT8", -1), [1, 2, 128], "holds values from 1 to 128, not INT8"),
        (one("FP32", -1), ["a", "b", "c"], "expected FP32, got <U1"),
        (one("FP32", -1), [1, 2, float("nan")], "holds NaN or an infinity"),
        (one("FP16", -1), [1, 2, 1e9], "holds NaN or an infinity"),
        (one("BYTES", -1), ["a", "b"], "expected BYTES [3], got 2 rows"),
        (one("BYTES", -1), ["a", "b", 3], "expected strings or bytes, got int"),
        (one("BYTES", -1, 2), [["a"]] * 3, "expected BYTES [3, 2], got other lists"),
        (one("BYTES", -1), "abc", "expected BYTES [3], got str"),
        (one("JSON", -1), {}, "expected JSON [3], got dict"),
    ],
)
def test_output_that_is_not_as_declared_names_itself(found: Manifest, value: Any, said: str) -> None:
    with pytest.raises(ModelError) as caught:
        outputs.validate(found, {"y": value}, 3)
    assert said in caught.value.detail


@pytest.mark.parametrize("made", [{}, {"z": [1]}, {"y": [1], "z": [1]}])
def test_other_names_are_refused(made: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=r"declared are \['y'\]"):
        outputs.validate(one("FP32", -1), made, 1)


def test_what_is_no_dict_is_refused() -> None:
    with pytest.raises(ModelError, match="returned NoneType where a dict"):
        outputs.validate(one("FP32", -1), None, 1)


def test_outputs_are_written_as_json() -> None:
    made: Batch = {
        "half": np.array([0.5, np.nan], np.float16),
        "big": np.array([[1, 2]], ">i4")[:, ::-1],
        "text": ["ü", b"\0"],
        "rows": [{"box": np.array([1.5]), "n": np.int64(3)}],
    }
    assert json.loads(outputs.encode(made)) == {
        "half": [0.5, None],
        "big": [[2, 1]],
        "text": ["ü", {"b64": "AA=="}],
        "rows": [{"box": [1.5], "n": 3}],
    }


@pytest.mark.parametrize("value", [object(), "\ud800", 2**70])
def test_output_that_json_cannot_hold_is_the_models_error(value: Any) -> None:
    with pytest.raises(ModelError, match="cannot be written as JSON"):
        outputs.encode({"y": [value]})
