"""A model's outputs as Arrow columns, whose types follow from the manifest alone.

A number is a number, a fixed axis a fixed-size list, a variable one a list. A BYTES or JSON output becomes JSON texts,
as a job's answer has them (`{"b64": …}` for what is not text): one type, whatever a handler returns.
"""

from collections.abc import Sequence

import numpy as np
import orjson
import pyarrow as pa

from models.arrays import Array, Rows
from models.manifest import Tensor
from models.outputs import plain

#: Metadata of a string column whose values are JSON texts.
JSON = {b"penstock": b"json"}
LEAVES: dict[str, pa.DataType] = {
    "BOOL": pa.bool_(),
    "INT8": pa.int8(), "INT16": pa.int16(), "INT32": pa.int32(), "INT64": pa.int64(),
    "UINT8": pa.uint8(), "UINT16": pa.uint16(), "UINT32": pa.uint32(), "UINT64": pa.uint64(),
    "FP16": pa.float16(), "FP32": pa.float32(), "FP64": pa.float64(),
}  # fmt: skip


def output_field(tensor: Tensor, name: str) -> pa.Field:
    """The column of an output."""
    if tensor.datatype not in LEAVES:
        return pa.field(name, pa.string(), metadata=JSON)
    kind = LEAVES[tensor.datatype]
    for size in reversed(tensor.shape[1:]):
        kind = pa.list_(kind, size if size != -1 else -1)
    return pa.field(name, kind)


def to_column(tensor: Tensor, rows: Rows) -> pa.Array:
    """One output's validated rows (`models.outputs`), an array or a list of what each row has."""
    if tensor.datatype not in LEAVES:
        texts = [orjson.dumps(row, default=plain, option=orjson.OPT_SERIALIZE_NUMPY) for row in rows]
        return pa.array(texts, pa.string())
    if isinstance(rows, np.ndarray):
        return nested(tensor, rows.reshape(-1), rows.shape)
    parts = [np.asarray(row) for row in rows]
    flat = np.concatenate([part.reshape(-1) for part in parts]) if parts else np.empty(0)
    return uneven(tensor, flat, [part.shape for part in parts])


def leaf(tensor: Tensor, flat: Array) -> pa.Array:
    return pa.array(flat, LEAVES[tensor.datatype])


def nested(tensor: Tensor, flat: Array, shape: Sequence[int]) -> pa.Array:
    """Rows of one shape."""
    column = leaf(tensor, flat)
    for axis in range(len(shape) - 1, 0, -1):
        if tensor.shape[axis] != -1:
            column = pa.FixedSizeListArray.from_arrays(column, shape[axis])
        else:
            count = int(np.prod(shape[:axis]))
            column = listed(np.full(count, shape[axis]), column)
    return column


def uneven(tensor: Tensor, flat: Array, shapes: Sequence[Sequence[int]]) -> pa.Array:
    """Rows that differ in shape, on axes that the manifest leaves open."""
    column = leaf(tensor, flat)
    sizes = np.array(shapes, dtype=np.int64).reshape(len(shapes), len(tensor.shape) - 1)
    for axis in range(sizes.shape[1] - 1, -1, -1):
        size = tensor.shape[axis + 1]
        if size != -1:
            column = pa.FixedSizeListArray.from_arrays(column, size)
        else:
            column = listed(np.repeat(sizes[:, axis], sizes[:, :axis].prod(axis=1)), column)
    return column


def listed(lengths: Array, values: pa.Array) -> pa.Array:
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values)
