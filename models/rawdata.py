"""`{"b64": "…"}`: raw little-endian, row-major elements of a numeric tensor, or bytes of a BYTES one.

Every length is compared before anything is decoded.
"""

import binascii
import math
import struct
from typing import Any

from errors import Fault
from models.datatypes import DATATYPES, MAX_RANK, MAX_TENSOR_BYTES, Datatype
from models.manifest import Tensor
from models.pointers import pointer


def count_rows(tensor: Tensor, value: dict[str, Any], faults: list[Fault]) -> int:
    """Rows of a raw numeric tensor; what is wrong is added to `faults`."""
    where = pointer(tensor.name)
    reason = encoding_complaint(value, known=("b64", "shape"))
    if not reason:
        try:
            shape = resolve_shape(tensor, value)
            reason = content_complaint(tensor, value["b64"])
        except ValueError as error:
            reason = str(error)
    if reason:
        faults.append(Fault(where, reason))
        return 1
    return shape[0] if shape else 1


def resolve_shape(tensor: Tensor, value: dict[str, Any]) -> tuple[int, ...]:
    """The shape of a raw value, every size known; raises ValueError with the reason.

    Taken from `shape` where the client sent one, else from the declared shape, in which the data's length gives one
    missing size.
    """
    size = DATATYPES[tensor.datatype].size
    count, rest = divmod(decoded_length(value["b64"]), size)
    if rest:
        raise ValueError(f"holds {count * size + rest} bytes, no multiple of {size} ({tensor.datatype})")
    if count == 0:
        raise ValueError("must not be empty")
    if "shape" in value:
        return announced(tensor, value["shape"], count)
    fixed = math.prod(length for length in tensor.shape if length != -1)
    unknown = tensor.shape.count(-1)
    if unknown > 1:
        raise ValueError(f'needs a "shape": {list(tensor.shape)} leaves more than one size open')
    if (unknown and count % fixed) or (not unknown and count != fixed):
        raise ValueError(f"holds {count} elements, which do not fill shape {list(tensor.shape)}")
    return tuple(count // fixed if length == -1 else length for length in tensor.shape)


def announced(tensor: Tensor, shape: object, count: int) -> tuple[int, ...]:
    """A client's own shape, held against the declared one and the data's length; raises ValueError."""
    if not isinstance(shape, list) or len(shape) > MAX_RANK or not all(type(size) is int for size in shape):
        raise ValueError(f"shape must be a list of at most {MAX_RANK} integers")
    if any(not 0 < size <= MAX_TENSOR_BYTES for size in shape):
        raise ValueError("shape must hold positive sizes")
    # Python's integers have no overflow; the bound is here so that nothing later meets one.
    product = math.prod(shape)
    if product * DATATYPES[tensor.datatype].size > MAX_TENSOR_BYTES:
        raise ValueError(f"shape announces more than {MAX_TENSOR_BYTES} bytes")
    declared = tensor.shape
    if len(shape) != len(declared) or any(d not in (-1, s) for d, s in zip(declared, shape, strict=True)):
        raise ValueError(f"shape {shape} does not fit the declared {list(declared)}")
    if product != count:
        raise ValueError(f"holds {count} elements where shape {shape} needs {product}")
    return tuple(shape)


def encoding_complaint(value: dict[str, object], known: tuple[str, ...]) -> str:
    """What is wrong with the object and its base64 (RFC 4648, section 4); empty when nothing is."""
    text = value["b64"]
    if not isinstance(text, str):
        return "b64 must be a string"
    if unknown := [key for key in value if key not in known]:
        return f"has the unknown key {str(unknown[0])[:80]!r} beside b64"
    try:
        binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError) as error:
        return f"b64 is not valid base64: {error}"
    return ""


def decoded_length(text: str) -> int:
    """Bytes behind a valid base64 text."""
    return len(text) // 4 * 3 - text[-2:].count("=")


def content_complaint(tensor: Tensor, text: str) -> str:
    """Whether raw elements are legal: a boolean is 0 or 1, a float is finite where NaN is not declared."""
    datatype = DATATYPES[tensor.datatype]
    if datatype.kind == "bool":
        return "" if max(decode(text)) <= 1 else "holds booleans that are neither 0 nor 1"
    if datatype.kind == "float" and not tensor.nan and not finite(datatype, decode(text)):
        return "must be finite, and holds NaN or an infinity"
    return ""


def finite(datatype: Datatype, data: bytes) -> bool:
    numbers = (
        struct.unpack(f"<{len(data) // datatype.size}e", data)
        if datatype.code == "e"
        else memoryview(data).cast(datatype.code)  # type: ignore[call-overload]
    )
    total = sum(numbers)
    return math.isfinite(total) or all(map(math.isfinite, numbers))


def decode(text: str) -> bytes:
    return binascii.a2b_base64(text)
