"""What a model returned: held against its manifest, and written as JSON."""

from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from errors import ModelError
from models.arrays import DTYPES, Array, Batch, Rows
from models.datatypes import DATATYPES
from models.manifest import Manifest, Tensor


def validate(manifest: Manifest, outputs: object, rows: int | None) -> Batch:
    """The declared outputs as rows in their datatypes; raises ModelError naming output, expected and got.

    `rows` is how many there must be; None for a model without a row axis.
    """
    made = by_name(outputs)
    declared = [tensor.name for tensor in manifest.outputs]
    if set(made) != set(declared):
        raise ModelError(f"the model returned the outputs {sorted(map(str, made))}, declared are {declared}")
    return {tensor.name: validated(tensor, made[tensor.name], rows) for tensor in manifest.outputs}


def by_name(outputs: object) -> Batch:
    """What a model returned, if it is outputs by name; raises ModelError."""
    if not isinstance(outputs, Mapping):
        raise ModelError(f"the model returned {kind(outputs)} where a dict of outputs by name is expected")
    return dict(outputs)


def validated(tensor: Tensor, value: object, rows: int | None) -> Rows:
    if tensor.datatype in ("BYTES", "JSON"):
        return validated_list(tensor, value, rows)
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ModelError(f"output {tensor.name!r}: expected {promise(tensor, rows)}, got ragged rows") from error
    expected = [rows if axis == 0 and rows is not None else size for axis, size in enumerate(tensor.shape)]
    fits = array.ndim == len(expected) and all(
        size in (-1, got) for size, got in zip(expected, array.shape, strict=True)
    )
    if not fits:
        got = f"{array.dtype} {list(array.shape)}"
        raise ModelError(f"output {tensor.name!r}: expected {promise(tensor, rows)}, got {got}")
    return cast(tensor, array)


def cast(tensor: Tensor, array: Array) -> Array:
    """The array in the declared datatype where no value is lost to it; raises ModelError."""
    datatype = DATATYPES[tensor.datatype]
    target = DTYPES[tensor.datatype]
    if array.dtype != target:
        if array.dtype.kind not in {"bool": "b", "int": "iu", "float": "iuf"}[datatype.kind]:
            raise ModelError(f"output {tensor.name!r}: expected {tensor.datatype}, got {array.dtype}")
        if datatype.kind == "int" and array.size:
            low, high = array.min().item(), array.max().item()
            if low < datatype.low or high > datatype.high:
                raise ModelError(f"output {tensor.name!r}: holds values from {low} to {high}, not {tensor.datatype}")
        with np.errstate(over="ignore"):
            array = array.astype(target)
    if datatype.kind == "float" and not tensor.nan and not np.isfinite(array).all():
        raise ModelError(f"output {tensor.name!r}: holds NaN or an infinity; declare `nan: true` where that is meant")
    return array


def validated_list(tensor: Tensor, value: object, rows: int | None) -> list[Any]:
    values = value.tolist() if isinstance(value, np.ndarray) else value
    if not isinstance(values, (list, tuple)):
        raise ModelError(f"output {tensor.name!r}: expected {promise(tensor, rows)}, got {kind(value)}")
    if rows is not None and len(values) != rows:
        raise ModelError(f"output {tensor.name!r}: expected {promise(tensor, rows)}, got {len(values)} rows")
    if tensor.datatype == "BYTES":
        check_strings(tensor, list(values), rows)
    return list(values)


def check_strings(tensor: Tensor, level: list[Any], rows: int | None) -> None:
    for size in tensor.shape[1:]:
        if not all(isinstance(items, (list, tuple)) and size in (-1, len(items)) for items in level):
            raise ModelError(f"output {tensor.name!r}: expected {promise(tensor, rows)}, got other lists")
        level = [item for items in level for item in items]
    for item in level:
        if not isinstance(item, (str, bytes)):
            raise ModelError(f"output {tensor.name!r}: expected strings or bytes, got {kind(item)}")


def encode(outputs: Batch) -> bytes:
    """Validated outputs as the JSON object a client sees; NaN and infinities become null. Raises ModelError."""
    try:
        return orjson.dumps(outputs, default=plain, option=orjson.OPT_SERIALIZE_NUMPY)
    except TypeError as error:
        # orjson hides the cause of a value that `plain` refused.
        raise ModelError(f"an output cannot be written as JSON: {error}") from error


def plain(value: object) -> object:
    """What orjson does not know: bytes, and arrays that are not contiguous."""
    if isinstance(value, bytes):
        return {"b64": b64encode(value).decode()}
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not serializable")


def promise(tensor: Tensor, rows: int | None) -> str:
    shape = [rows, *tensor.shape[1:]] if rows is not None else list(tensor.shape)
    return f"{tensor.datatype} {shape}"


def kind(value: object) -> str:
    return type(value).__name__
