"""Examples that are made rather than written out: `{fill: 0.5, shape: [1, 3, 224, 224]}` in a manifest.

A picture's worth of numbers has no place in a manifest. Only an example may be given so, and not a job's inputs: a few
bytes would ask for gigabytes. Light: the gateway imports this.
"""

import math
import struct
from base64 import b64encode

from models.datatypes import DATATYPES, MAX_RANK
from models.manifest import Manifest, Tensor

#: Bytes that one filled input may take: an example is run once, and checked at every look at the repository.
MAX_BYTES = 2**26


def filled(manifest: Manifest) -> dict[str, object]:
    """The example as a job would send it; raises ValueError where a filled input is wrong. Empty without one."""
    tensors = {tensor.name: tensor for tensor in manifest.inputs}
    return {name: written(name, value, tensors) for name, value in (manifest.example or {}).items()}


def written(name: str, value: object, tensors: dict[str, Tensor]) -> object:
    if not isinstance(value, dict) or "fill" not in value:
        return value
    datatype = tensors[name].datatype if name in tensors else "an unknown input"
    if datatype not in DATATYPES or not DATATYPES[datatype].size:
        raise ValueError(f"{name}: {datatype} cannot be filled; write the values themselves")
    if value.keys() != {"fill", "shape"}:
        raise ValueError(f"{name}: a filled input has the keys fill and shape, and no other")
    return fill(datatype, value["fill"], value["shape"], name=name)


def fill(datatype: str, value: object, shape: object, *, name: str) -> dict[str, object]:
    """Raw elements, all equal; raises ValueError."""
    kind = DATATYPES[datatype]
    if not isinstance(shape, list) or len(shape) > MAX_RANK or not all(type(s) is int and s > 0 for s in shape):
        raise ValueError(f"{name}: shape must be a list of positive sizes")
    count = math.prod(shape)
    if count * kind.size > MAX_BYTES:
        raise ValueError(f"{name}: {shape} takes more than {MAX_BYTES} bytes; a smaller example warms up as well")
    try:
        element = struct.pack("<" + kind.code, value)
    except (struct.error, OverflowError) as error:
        raise ValueError(f"{name}: {value!r} is no {datatype}: {error}") from error
    return {"b64": b64encode(element * count).decode(), "shape": shape}
