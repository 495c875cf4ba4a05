"""A job's outputs as numpy arrays; numpy is imported here, and only where they are asked for."""

import base64
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

#: Datatypes of the Open Inference Protocol as numpy names them.
DTYPES = {
    "BOOL": "?", "INT8": "i1", "INT16": "i2", "INT32": "i4", "INT64": "i8", "UINT8": "u1", "UINT16": "u2",
    "UINT32": "u4", "UINT64": "u8", "FP16": "f2", "FP32": "f4", "FP64": "f8",
}  # fmt: skip


class Declared(Protocol):
    """What a model says of one output."""

    @property
    def name(self) -> str: ...
    @property
    def datatype(self) -> str: ...


def as_numpy(outputs: Mapping[str, Any], tensors: Iterable[Declared] = ()) -> dict[str, Any]:
    """The outputs by name, numbers as arrays of the datatype that `tensors` declares.

    Strings become arrays of objects, `{"b64": …}` bytes in them; JSON stays what it is. An output that is not declared
    gets the datatype that numpy sees in it, and stays a list where its rows differ in length. Raises ImportError where
    numpy is missing.
    """
    declared = {tensor.name: tensor.datatype for tensor in tensors}
    return {name: array_of(value, declared.get(name, "")) for name, value in outputs.items()}


def array_of(value: Any, datatype: str) -> Any:
    import numpy as np

    if datatype in DTYPES:
        return np.array(value, dtype=DTYPES[datatype])
    if datatype == "BYTES":
        return objects(value)
    if datatype:
        return value
    try:
        guessed = np.array(value)
    except ValueError:
        return value
    return guessed if guessed.dtype.kind in "biuf" else value


def objects(value: Any) -> Any:
    """Strings and bytes, in as many axes as they are nested."""
    import numpy as np

    shape, level = [], value
    while isinstance(level, list):
        shape.append(len(level))
        level = level[0] if level else None
    found = np.empty(shape, dtype=object)
    for place in np.ndindex(*shape):
        item = value
        for index in place:
            item = item[index]
        found[place] = base64.b64decode(item["b64"]) if isinstance(item, Mapping) else item
    return found
