"""Native Arrow columns as a model's rows: views of their memory where the types agree, no Python per row.

A row of a numeric tensor is a number (no axis besides the rows'), or lists nested as deep as its axes: fixed-size or
not. One flat list, row-major, serves for several fixed axes as well, and so do Arrow's tensor columns.
"""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import types

from models.arrays import DTYPES, Array, Rows
from models.datatypes import DATATYPES, Datatype
from models.manifest import Tensor

#: A `pa.Array` or `pa.ChunkedArray`; pyarrow has no types.
Column = Any


class Unfit(ValueError):
    """Some row of a column does not fit; the message is the reason, to be read after the input's name."""


def complaint(tensor: Tensor, kind: pa.DataType) -> str:
    """Why no row of a column of this type can fit; empty where they may."""
    axes, leaf = unnested(kind)
    inner = tensor.shape[1:]
    if not leaf_fits(DATATYPES[tensor.datatype], leaf):
        return f"must be {promise(tensor)} in each row; its column holds {kind}"
    flat = -1 not in inner and (axes == 1 or (axes == 0 and math.prod(inner) == 1))
    if axes == len(inner) or (flat and tensor.datatype != "BYTES"):
        size = fixed_size(kind)
        if axes and size is not None and -1 not in inner and size != math.prod(inner):
            return f"must be {promise(tensor)} in each row; its column holds {size} values in each"
        return ""
    return f"must be {promise(tensor)} in each row; its column holds {kind}"


def promise(tensor: Tensor) -> str:
    inner = list(tensor.shape[1:])
    return f"{tensor.datatype} of shape {inner}" if inner else f"one {tensor.datatype}"


def unnested(kind: pa.DataType) -> tuple[int, pa.DataType]:
    """How many lists are nested, and the type below them."""
    axes = 0
    while True:
        if isinstance(kind, pa.BaseExtensionType):
            kind = kind.storage_type
        elif types.is_dictionary(kind):
            kind = kind.value_type
        elif listed(kind):
            axes, kind = axes + 1, kind.value_type
        else:
            return axes, kind


def listed(kind: pa.DataType) -> bool:
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def fixed_size(kind: pa.DataType) -> int | None:
    """Values in each row where the type says so."""
    size = 1
    while True:
        if isinstance(kind, pa.BaseExtensionType):
            kind = kind.storage_type
        elif types.is_fixed_size_list(kind):
            size, kind = size * kind.list_size, kind.value_type
        else:
            return None if listed(kind) else size


def leaf_fits(datatype: Datatype, leaf: pa.DataType) -> bool:
    if datatype.kind == "bytes":
        return bool(textual(leaf) or types.is_binary(leaf) or types.is_large_binary(leaf) or binary_view(leaf))
    if datatype.kind == "bool":
        return bool(types.is_boolean(leaf))
    if datatype.kind == "int":
        return bool(types.is_integer(leaf))
    return bool(types.is_integer(leaf) or types.is_floating(leaf) or types.is_decimal(leaf))


def textual(leaf: pa.DataType) -> bool:
    return bool(types.is_string(leaf) or types.is_large_string(leaf) or leaf == pa.string_view())


def binary_view(leaf: pa.DataType) -> bool:
    return bool(leaf == pa.binary_view() or types.is_fixed_size_binary(leaf))


def native_rows(tensor: Tensor, column: Column) -> Rows:
    """A column's rows; raises Unfit. Rows that differ in shape, where that is declared, become a list of arrays."""
    array = single(column)
    if tensor.datatype == "BYTES":
        return byte_rows(tensor, array)
    lengths: list[Array] = []
    while True:
        if isinstance(array.type, pa.BaseExtensionType):
            array = array.storage
        elif types.is_dictionary(array.type):
            array = array.dictionary_decode()
        elif not listed(array.type):
            break
        elif array.null_count:
            raise Unfit("is null")
        else:
            lengths.append(list_lengths(array))
            array = array.flatten()
    return shaped(tensor, numbers(tensor, array), lengths, len(column))


def single(column: Column) -> pa.Array:
    """The column in one piece; copied where it has several."""
    if isinstance(column, pa.Array):
        return column
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [pa.array([], column.type)])


def list_lengths(array: pa.Array) -> Array:
    if types.is_fixed_size_list(array.type):
        return np.full(len(array), array.type.list_size)
    return np.diff(array.offsets.to_numpy())


def numbers(tensor: Tensor, leaf: pa.Array) -> Array:
    """The elements in the tensor's datatype, held against its range."""
    datatype, target = DATATYPES[tensor.datatype], DTYPES[tensor.datatype]
    if types.is_decimal(leaf.type):
        leaf = leaf.cast(pa.float64())
    if leaf.null_count:
        if not (tensor.nan and types.is_floating(leaf.type)):
            raise Unfit("holds null")
        leaf = (leaf.cast(pa.float32()) if types.is_float16(leaf.type) else leaf).fill_null(math.nan)
    values: Array = leaf.to_numpy(zero_copy_only=False)
    if values.dtype == target:
        made = values
    else:
        if datatype.kind == "int":
            check_range(datatype, values)
        with np.errstate(over="ignore"):
            made = values.astype(target)
    if datatype.kind == "float":
        check_finite(tensor, values, made)
    return made


def check_range(datatype: Datatype, values: Array) -> None:
    if values.size:
        low, high = values.min().item(), values.max().item()
        if low < datatype.low or high > datatype.high:
            raise Unfit(f"holds {low if low < datatype.low else high}, which {datatype.name} has no room for")


def check_finite(tensor: Tensor, values: Array, made: Array) -> None:
    """Raises Unfit for NaN and infinities that are not declared, and for values that became infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        # A sum is one pass without memory of its own; only where it is not finite is there something to look for.
        if np.isfinite(made.sum()):
            return
    finite = np.isfinite(made)
    if finite.all():
        return
    if values is not made and not finite[np.isfinite(values)].all():
        raise Unfit(f"holds a value that {tensor.datatype} has no room for")
    if not tensor.nan:
        raise Unfit("must be finite, and holds NaN or an infinity")


def shaped(tensor: Tensor, values: Array, lengths: list[Array], rows: int) -> Rows:
    """Elements of all rows with their shapes, those held against the declared one."""
    inner = tensor.shape[1:]
    if len(lengths) != len(inner):
        size = math.prod(inner)
        for level in lengths:
            check_lengths(tensor, level, size)
        return values.reshape(rows, *inner)
    for size, level in zip(inner, lengths, strict=True):
        check_lengths(tensor, level, size)
    if all(len(level) and (level == level[0]).all() for level in lengths):
        return values.reshape(rows, *(int(level[0]) for level in lengths))
    return ragged(values, lengths, rows)


def check_lengths(tensor: Tensor, lengths: Array, size: int) -> None:
    wrong = lengths[lengths == 0] if size == -1 else lengths[lengths != size]
    if len(wrong):
        expected = "one or more" if size == -1 else str(size)
        raise Unfit(f"must be {promise(tensor)}: has {int(wrong[0])} values on an axis where {expected} are expected")


def ragged(values: Array, lengths: list[Array], rows: int) -> list[Array]:
    """Rows that differ in shape, one by one; raises Unfit where a row's own lists differ."""
    shapes: list[tuple[int, ...]] = [()] * rows
    starts = np.arange(rows + 1)
    for level in lengths:
        parts = [level[start:end] for start, end in pairwise(starts)]
        if any(len(part) and part.min() != part.max() for part in parts):
            raise Unfit("holds lists of different lengths")
        shapes = [(*shape, int(part[0])) for shape, part in zip(shapes, parts, strict=True)]
        starts = np.concatenate(([0], np.cumsum(level)))[starts]
    return [values[start:end].reshape(shape) for (start, end), shape in zip(pairwise(starts), shapes, strict=True)]


def byte_rows(tensor: Tensor, array: pa.Array) -> list[Any]:
    if types.is_dictionary(array.type):
        array = array.dictionary_decode()
    rows: list[Any] = array.to_pylist()
    level = rows
    for size in tensor.shape[1:]:
        if any(items is None for items in level):
            raise Unfit("is null")
        check_lengths(tensor, np.array([len(items) for items in level]), size)
        level = [item for items in level for item in items]
    if any(item is None for item in level):
        raise Unfit("is null" if len(tensor.shape) == 1 else "holds null")
    return rows
