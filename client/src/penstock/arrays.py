"""What array and picture libraries call a value, as plain numbers, `.npy` files and bytes.

None of these libraries is imported here: an object is taken for what its methods say, so that a program pays only for
the libraries it uses itself.
"""

import io
import math
import struct
from collections.abc import Mapping
from typing import Any

#: Kinds of numpy's dtypes that a `.npy` file for the farm may hold: booleans, integers, floats.
NUMBERS = "biuf"
#: What a `.npy` file begins with (https://numpy.org/neps/nep-0001-npy-format.html), version 1.0.
MAGIC = b"\x93NUMPY\x01\x00"
#: The array's bytes in such a file begin at a multiple of this.
ALIGNED = 64
#: Modes of PIL's pictures that PNG holds as they are.
PNG_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})
#: Those that are RGB in other words.
COLOUR_MODES = frozenset({"CMYK", "YCbCr", "HSV", "RGBX", "RGBa"})


class Unfit(ValueError):
    """A value that cannot be sent as it is, and what to do."""


def columns(table: Any) -> Mapping[str, Any] | None:
    """The columns of a pandas, polars or Arrow table by name; None for anything else."""
    if isinstance(table, Mapping):
        return None
    names = getattr(table, "column_names", None) or getattr(table, "columns", None)
    if names is None or isinstance(names, str) or not hasattr(table, "__getitem__"):
        return None
    return {str(name): table[name] for name in names}


def array_of(value: Any) -> Any:
    """A numpy array for whatever can be one: arrays, tensors, columns and tables; None for anything else.

    Raises Unfit for a column in which values are missing.
    """
    if hasattr(value, "__array_interface__"):
        return value
    if callable(detach := getattr(value, "detach", None)):
        return from_tensor(detach())
    if callable(getattr(value, "to_numpy", None)):
        refuse_missing(value)
        try:
            return value.to_numpy()
        except ImportError:
            # polars and Arrow do without numpy; then these go as lists.
            return None
    return None


def from_tensor(tensor: Any) -> Any:
    tensor = tensor.cpu()
    try:
        return tensor.numpy()
    except TypeError:
        # numpy has no bfloat16 and smaller ones; each of their values is a float32's.
        return tensor.float().numpy()


def refuse_missing(column: Any) -> None:
    """Raises Unfit for a pandas, polars or Arrow column, or table, in which values are missing."""
    if callable(isna := getattr(column, "isna", None)):
        count = total(isna())
    else:
        found = getattr(column, "null_count", 0)
        count = total(found() if callable(found) else found)
    if count:
        raise Unfit(f"{count} values of {len(column)} rows are missing; fill or drop them")


def total(counted: Any) -> int:
    """The sum of a column or table of counts, or a count."""
    return int(counted.to_numpy().sum() if hasattr(counted, "to_numpy") else counted)


def numeric(array: Any) -> bool:
    return array.dtype.kind in NUMBERS


def finite(array: Any) -> bool:
    """False where JSON cannot say a number of the array: NaN or an infinity."""
    if array.dtype.kind != "f" or not array.size:
        return True
    # NaN is the least and the most of whatever holds one.
    least, most = float(array.min()), float(array.max())
    return math.isfinite(least) and math.isfinite(most)


def npy(array: Any) -> bytes:
    """The array of numbers as a `.npy` file of version 1.0."""
    shape = "".join(f"{size}, " for size in array.shape)
    header = f"{{'descr': {array.dtype.str!r}, 'fortran_order': False, 'shape': ({shape.strip()}), }}".encode()
    before = len(MAGIC) + 2
    padding = -(before + len(header) + 1) % ALIGNED
    header += b" " * padding + b"\n"
    return MAGIC + struct.pack("<H", len(header)) + header + bytes(array.tobytes())


def picture(value: Any) -> bytes | None:
    """A PIL image as PNG, every pixel as it is; None for anything else. Raises Unfit for modes that no PNG holds."""
    if not type(value).__module__.startswith("PIL.") or not callable(getattr(value, "save", None)):
        return None
    if value.mode not in PNG_MODES | COLOUR_MODES:
        raise Unfit(f"no PNG holds a picture of mode {value.mode}; convert it, or send numpy.asarray of it")
    file = io.BytesIO()
    # Not as JPEG, were it read from one: a second encoding would lose more.
    (value if value.mode in PNG_MODES else value.convert("RGB")).save(file, "PNG")
    return file.getvalue()


def listed(value: Any) -> Any:
    """The values of an array, a tensor or a column as (nested) lists; None where it is none of these."""
    for name in ("tolist", "to_list", "to_pylist"):
        if callable(method := getattr(value, name, None)):
            return method()
    return None
