"""Arrow columns as JSON texts, one a value: numbers in their shortest form that reads back as the same."""

from base64 import b64encode
from datetime import timedelta
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from pyarrow import types

from models.columns import listed

NULL = b"null"
OPTIONS = orjson.OPT_SERIALIZE_NUMPY


def texts(array: pa.Array) -> list[bytes]:
    """Each value's JSON; null for NaN and the infinities, as in a job's answer; `{"b64": …}` for bytes."""
    kind = array.type
    if types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind):
        return numbers(array)
    if types.is_string(kind) or types.is_large_string(kind):
        return [NULL if value is None else orjson.dumps(value) for value in array.to_pylist()]
    if listed(kind):
        return lists(array)
    return [orjson.dumps(value, default=plain, option=OPTIONS) for value in array.to_pylist()]


def numbers(array: pa.Array) -> list[bytes]:
    if not len(array):
        return []
    filled = array.fill_null(False if types.is_boolean(array.type) else 0) if array.null_count else array
    found = orjson.dumps(filled.to_numpy(zero_copy_only=False), option=OPTIONS)[1:-1].split(b",")
    return blanked(array, found)


def blanked(array: pa.Array, found: list[bytes]) -> list[bytes]:
    for position in np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False)) if array.null_count else ():
        found[position] = NULL
    return found


def lists(array: pa.Array) -> list[bytes]:
    if types.is_fixed_size_list(array.type) and not array.null_count and len(array) and array.type.list_size:
        inner, kind = array.flatten(), array.type.value_type
        if (types.is_integer(kind) or types.is_floating(kind)) and not inner.null_count:
            matrix = inner.to_numpy(zero_copy_only=False).reshape(len(array), -1)
            return [b"[%b]" % row for row in orjson.dumps(matrix, option=OPTIONS)[2:-2].split(b"],[")]
    elements = texts(array.flatten())
    lengths = array.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    ends = np.cumsum(lengths).tolist()
    found = [b"[%b]" % b",".join(elements[start:end]) for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    return blanked(array, found)


def plain(value: Any) -> object:
    """What orjson does not know."""
    if isinstance(value, bytes):
        return {"b64": b64encode(value).decode()}
    return value.total_seconds() if isinstance(value, timedelta) else str(value)
