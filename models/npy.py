"""`.npy` files as rows: what an upload holds for a numeric tensor.

The format is numpy's own (NEP 1). The header is read first and held against the signature and the
file's length: `numpy.load` allocates what a header promises.
"""

import io
import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy_format

from errors import Fault, InvalidInput
from models.datatypes import DATATYPES, MAX_TENSOR_BYTES
from models.manifest import Tensor
from models.pointers import pointer

READERS = {(1, 0): npy_format.read_array_header_1_0, (2, 0): npy_format.read_array_header_2_0}


def read(tensor: Tensor, data: bytes, rowed: bool) -> npt.NDArray[Any]:
    """The rows in a `.npy` file; raises InvalidInput."""
    try:
        return convert(tensor, parse(data), rowed)
    except ValueError as error:
        where = pointer(tensor.name)
        raise InvalidInput(f"{where} {error}", faults=[Fault(where, str(error))]) from error


def parse(data: bytes) -> npt.NDArray[Any]:
    """The array as it was saved; raises ValueError with the reason. Never unpickles."""
    stream = io.BytesIO(data)
    try:
        shape, fortran, dtype = READERS[npy_format.read_magic(stream)](stream)
    except (ValueError, KeyError, EOFError, SyntaxError, TypeError) as error:
        raise ValueError("a stored object for numbers must be a .npy file of version 1 or 2") from error
    if dtype.kind not in "biuf":
        raise ValueError(f"the .npy file holds {dtype}, not numbers")
    length = math.prod(shape) * dtype.itemsize
    if length > MAX_TENSOR_BYTES or length != len(data) - stream.tell():
        raise ValueError(f"the .npy file announces {length} bytes and holds {len(data) - stream.tell()}")
    array = np.frombuffer(bytearray(data[stream.tell() :]), dtype)
    return array.reshape(shape, order="F" if fortran else "C")


def convert(tensor: Tensor, array: npt.NDArray[Any], rowed: bool) -> npt.NDArray[Any]:
    """The array in the tensor's datatype; raises ValueError where a value or an axis does not fit."""
    if rowed and array.ndim == len(tensor.shape) - 1:
        array = array[None]
    fits = array.ndim == len(tensor.shape) and all(
        size > 0 and declared in (-1, size) for size, declared in zip(array.shape, tensor.shape, strict=True)
    )
    if not fits:
        raise ValueError(f"the .npy file has shape {list(array.shape)} where {list(tensor.shape)} is declared")
    datatype = DATATYPES[tensor.datatype]
    if array.dtype.kind not in {"bool": "b", "int": "iu", "float": "iuf"}[datatype.kind]:
        raise ValueError(f"the .npy file holds {array.dtype} where {tensor.datatype} is declared")
    if array.dtype.kind == "f" and not tensor.nan and not np.isfinite(array).all():
        raise ValueError("must be finite, and holds NaN or an infinity")
    if not datatype.low <= float_or_int(np.nanmin(array)) or not float_or_int(np.nanmax(array)) <= datatype.high:
        raise ValueError(f"holds values outside {tensor.datatype}")
    return array.astype(np.dtype("?" if datatype.kind == "bool" else datatype.code), order="C", copy=False)


def float_or_int(value: Any) -> float:
    """The exact value: numpy would compare a 64-bit integer as a float."""
    number: float = value.item()
    return number
