"""The datatypes a tensor may declare: those of the Open Inference Protocol, and JSON for outputs.

https://github.com/kserve/open-inference-protocol, "Tensor Data Types". Pure: the gateway imports this.
"""

import math
import sys

import msgspec

#: Largest tensor that a manifest may promise or a client may announce, in bytes: beyond it an array is a mistake
#: or an attack, and must be refused before anything is allocated.
MAX_TENSOR_BYTES = 2**31
#: Most axes a tensor may have; nesting in JSON is never followed deeper.
MAX_RANK = 8


class Datatype(msgspec.Struct, frozen=True):
    """What may stand in one element."""

    name: str
    #: One of `bool`, `int`, `float`, `bytes`, `json`.
    kind: str
    #: Bytes an element takes as raw data; 0 where it varies.
    size: int = 0
    low: float = 0
    high: float = 0
    #: The element's format in raw little-endian data, as `struct` and `memoryview.cast` name it.
    code: str = ""


def _integers() -> list[Datatype]:
    signed = [
        Datatype(f"INT{bits}", "int", bits // 8, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1, code)
        for bits, code in ((8, "b"), (16, "h"), (32, "i"), (64, "q"))
    ]
    unsigned = [
        Datatype(f"UINT{bits}", "int", bits // 8, 0, 2**bits - 1, code)
        for bits, code in ((8, "B"), (16, "H"), (32, "I"), (64, "Q"))
    ]
    return [*unsigned, *signed]


def _floats() -> list[Datatype]:
    # IEEE 754: the largest double that is rounded to the largest half or single, and not to infinity. That one's own
    # shortest decimal form, 3.4028235e+38, lies above it.
    largest = (
        ("FP16", 2, math.nextafter((2 - 2.0**-11) * 2.0**15, 0), "e"),
        ("FP32", 4, math.nextafter((2 - 2.0**-24) * 2.0**127, 0), "f"),
        ("FP64", 8, sys.float_info.max, "d"),
    )
    return [Datatype(name, "float", size, -high, high, code) for name, size, high, code in largest]


DATATYPES: dict[str, Datatype] = {
    datatype.name: datatype
    for datatype in (
        Datatype("BOOL", "bool", 1, 0, 1, "B"),
        *_integers(),
        *_floats(),
        Datatype("BYTES", "bytes"),
        Datatype("JSON", "json"),
    )
}
#: JSON describes what a handler returns row by row; an input has a datatype that can be checked.
INPUT_DATATYPES = tuple(name for name in DATATYPES if name != "JSON")
