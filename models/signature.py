"""Whether a job's inputs fit a model's signature, before anything is queued or allocated.

Values are what JSON gives: scalars, nested lists, strings, `{"b64": "…"}` (raw bytes; with an
optional `shape` for numeric tensors) and references `{"object": "…"}` to something stored. A value
with one axis less than declared is one row. The common case is a handful of C-speed passes; only a
value that fails it is searched for what is wrong and where (`models.faultfinding`).

Light: the gateway imports this.
"""

from collections.abc import Mapping

from errors import Fault, InvalidInput
from models import rawdata
from models.datatypes import DATATYPES
from models.elements import elements_fit
from models.faultfinding import MAX_FAULTS, Finder
from models.manifest import Manifest, Tensor
from models.measuring import Measure, measure
from models.pointers import pointer

__all__ = ("Measure", "check", "measure")


def check(manifest: Manifest, inputs: Mapping[str, object]) -> int:
    """The number of rows in `inputs`; raises InvalidInput with a Fault for each place that is wrong (16 at most).

    Rows behind a reference are unknown and count as 1. A model without a row axis counts as 1.
    """
    faults: list[Fault] = []
    rows: dict[str, int] = {}
    rowed = manifest.rowed
    for tensor in manifest.inputs:
        if tensor.name not in inputs:
            faults.append(Fault(pointer(tensor.name), "is missing"))
            continue
        count = count_rows(tensor, inputs[tensor.name], rowed, faults)
        if count is not None:
            rows[tensor.name] = count
    if len(inputs) != len(manifest.inputs) or faults:
        faults += unknown_inputs(manifest, inputs)
    if not faults and len(set(rows.values())) > 1:
        faults += disagreements(rows)
    if faults:
        raise InvalidInput(summary(manifest.name, faults), faults=faults[:MAX_FAULTS])
    return next(iter(rows.values()), 1) if rowed else 1


def count_rows(tensor: Tensor, value: object, rowed: bool, faults: list[Fault]) -> int | None:
    """Rows of one value, None where they are unknown; what is wrong is added to `faults`."""
    if isinstance(value, dict) and "object" in value:
        faults += reference_faults(tensor, value)
        return None
    if isinstance(value, dict) and "b64" in value and tensor.datatype != "BYTES":
        return rawdata.count_rows(tensor, value, faults)
    rows = nested_rows(tensor, value, rowed)
    return Finder(tensor, rowed, faults).search(value) if rows is None else rows


def nested_rows(tensor: Tensor, value: object, rowed: bool) -> int | None:
    """Rows of a nested list that surely fits; None where it may not."""
    shape = tensor.shape
    if rowed and depth(value) == len(shape) - 1:
        value = [value]
    level = [value]
    rows = 1
    for axis, size in enumerate(shape):
        if set(map(type, level)) != {list}:
            return None
        lengths = set(map(len, level))  # type: ignore[arg-type]
        if len(lengths) != 1:
            return None
        (length,) = lengths
        if length == 0 or (size != -1 and size != length):
            return None
        if axis == 0:
            rows = length
        level = level[0] if len(level) == 1 else [item for items in level for item in items]  # type: ignore
    return rows if elements_fit(DATATYPES[tensor.datatype], level) else None


def depth(value: object) -> int:
    """Nesting along the first elements; followed one level beyond what is allowed at most."""
    axes = 0
    while type(value) is list and value and axes < 10:
        value = value[0]
        axes += 1
    return axes


def reference_faults(tensor: Tensor, value: dict[str, object]) -> list[Fault]:
    where = pointer(tensor.name)
    if not isinstance(value["object"], str) or not value["object"]:
        return [Fault(where + "/object", "must be the id of an object")]
    if value.get("as", "bytes") not in ("bytes", "json"):
        return [Fault(where + "/as", 'must be "bytes" or "json"')]
    return [Fault(pointer(tensor.name, key), "is unknown here") for key in value if key not in ("object", "as")]


def unknown_inputs(manifest: Manifest, inputs: Mapping[str, object]) -> list[Fault]:
    known = [tensor.name for tensor in manifest.inputs]
    return [
        Fault(pointer(name), f"is no input of {manifest.name}; its inputs are {', '.join(known)}")
        for name in list(inputs)[: MAX_FAULTS + len(known)]
        if name not in known
    ]


def disagreements(rows: dict[str, int]) -> list[Fault]:
    first, expected = next(iter(rows.items()))
    return [
        Fault(pointer(name), f"has {count} rows where {first} has {expected}")
        for name, count in rows.items()
        if count != expected
    ]


def summary(model: str, faults: list[Fault]) -> str:
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"the inputs do not fit model {model}: {faults[0].pointer} {faults[0].detail}{more}"
