"""Tensors to and from what travels between processes. Only executors import this: it needs numpy.

Numbers travel as their raw bytes; strings, bytes and JSON as MessagePack, where each has its length before it.
"""

from itertools import pairwise
from math import prod
from typing import Any

import msgspec
import numpy as np

from errors import ModelError
from models.arrays import DTYPES, Array, Batch, Rows
from workers.segment import Segment
from workers.wire import Tensor, Tensors

#: A larger tensor lies in shared memory, bytes.
INLINE_BYTES = 64 * 1024
#: Between the beginnings of tensors in a segment, so that a model may use them where they lie, bytes.
ALIGNMENT = 64

_NAMES = {dtype: name for name, dtype in DTYPES.items()}


def pack(batch: Batch) -> Tensors:
    """Named rows ready to be sent; raises ModelError where something cannot travel, OSError without memory."""
    tensors = []
    parts: list[tuple[int, memoryview]] = []
    end = 0
    for name, rows in batch.items():
        tensor, data = _packed(name, rows)
        if tensor.size <= INLINE_BYTES:
            tensors.append(msgspec.structs.replace(tensor, data=b"".join(data)))
            continue
        offset = end = -(-end // ALIGNMENT) * ALIGNMENT
        for part in data:
            parts.append((end, part))
            end += len(part)
        tensors.append(msgspec.structs.replace(tensor, offset=offset))
    return Tensors(tuple(tensors), Segment.of(parts, end) if parts else None)


def unpack(tensors: Tensors) -> Batch:
    """The rows by name: arrays that may be written to, large ones where they lie; raises ValueError where malformed."""
    shared = memoryview(tensors.segment.view()) if tensors.segment is not None else memoryview(b"")
    return {tensor.name: _unpacked(tensor, shared) for tensor in tensors.tensors}


def _packed(name: str, rows: Rows) -> tuple[Tensor, list[memoryview]]:
    """The tensor without its data, and the data in parts."""
    if isinstance(rows, np.ndarray) and rows.dtype.kind not in "OSU":
        datatype, part = _numbers(name, rows)
        return Tensor(name, datatype, rows.shape, len(part)), [part]
    values = rows.tolist() if isinstance(rows, np.ndarray) else list(rows)
    if values and all(isinstance(row, np.ndarray) for row in values):
        return _ragged(name, values)
    try:
        data = memoryview(_values.encode(values))
    except (TypeError, ValueError, OverflowError) as error:
        raise ModelError(f"tensor {name!r} cannot travel: {error}") from error
    return Tensor(name, "BYTES" if _is_text(values) else "JSON", _shape(values), len(data)), [data]


def _ragged(name: str, rows: list[Array]) -> tuple[Tensor, list[memoryview]]:
    """Arrays that differ in shape, one after the other."""
    packed = [_numbers(name, row) for row in rows]
    shapes = tuple(row.shape for row in rows)
    if len({datatype for datatype, _ in packed}) > 1 or len(set(map(len, shapes))) > 1:
        raise ModelError(f"tensor {name!r}: its rows differ in datatype or rank, and not only in their sizes")
    axes = (sizes[0] if len(set(sizes)) == 1 else -1 for sizes in zip(*shapes, strict=True))
    size = sum(len(part) for _, part in packed)
    return Tensor(name, packed[0][0], (len(rows), *axes), size, ragged=shapes), [part for _, part in packed]


def _numbers(name: str, array: Array) -> tuple[str, memoryview]:
    """The datatype and the raw bytes."""
    datatype = _NAMES.get(array.dtype.newbyteorder("<"))
    if datatype is None:
        raise ModelError(f"tensor {name!r}: {array.dtype} is no datatype that can travel between models")
    flat = np.ascontiguousarray(array, DTYPES[datatype]).reshape(-1)
    return datatype, flat.view(np.uint8).data


def _unpacked(tensor: Tensor, shared: memoryview) -> Rows:
    data = memoryview(tensor.data) if tensor.offset < 0 else shared[tensor.offset : tensor.offset + tensor.size]
    if len(data) != tensor.size:
        raise ValueError(f"tensor {tensor.name!r} holds {len(data)} bytes, announced are {tensor.size}")
    if tensor.datatype not in DTYPES:
        values: list[Any] = _decoder.decode(data)
        return values
    dtype = DTYPES[tensor.datatype]
    # A small one came in bytes that must not be written to, and torch asks for an array that may be.
    flat: Array = np.frombuffer(bytearray(data) if data.readonly else data, dtype)
    if not tensor.ragged:
        return flat.reshape(tensor.shape)
    ends = np.cumsum([0, *map(prod, tensor.ragged)])
    pieces = zip(pairwise(ends), tensor.ragged, strict=True)
    return [flat[start:end].reshape(shape) for (start, end), shape in pieces]


def _is_text(values: list[Any]) -> bool:
    return all(_is_text(value) if isinstance(value, list) else isinstance(value, (str, bytes)) for value in values)


def _shape(values: list[Any]) -> tuple[int, ...]:
    """The shape of nested lists; -1 where lists of one level differ in length."""
    shape = [len(values)]
    while values and all(isinstance(value, list) for value in values):
        sizes = {len(value) for value in values}
        shape.append(sizes.pop() if len(sizes) == 1 else -1)
        values = [item for value in values for item in value]
    return tuple(shape)


def _plain(value: object) -> object:
    """What MessagePack does not know: numpy's arrays and numbers."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not serializable")


_values = msgspec.msgpack.Encoder(enc_hook=_plain)
_decoder = msgspec.msgpack.Decoder(list[Any])
