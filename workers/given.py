"""Tensors that another model made, held against the signature of the one that is to run on them."""

import numpy as np

from errors import Fault, InvalidInput
from models.arrays import DTYPES, Array, Batch, Rows
from models.datatypes import DATATYPES
from models.manifest import Manifest, Tensor
from models.pointers import pointer
from workers import wire
from workers.tensors import unpack


def inputs_of(manifest: Manifest, given: wire.Tensors) -> Batch:
    """The tensors as the model's inputs; raises InvalidInput naming the input, what is expected and what came."""
    by_name = {tensor.name: tensor for tensor in given.tensors}
    declared = [tensor.name for tensor in manifest.inputs]
    if set(by_name) != set(declared):
        raise InvalidInput(f"the tensors {sorted(by_name)} were given, the inputs are {declared}")
    faults = [fault for tensor in manifest.inputs if (fault := misfit(tensor, by_name[tensor.name]))]
    counts = {name: by_name[name].shape[0] for name in declared} if manifest.rowed and not faults else {}
    if len(set(counts.values())) > 1:
        faults.append(Fault("#/inputs", f"the inputs differ in rows: {counts}"))
    if faults:
        raise InvalidInput(f"{faults[0].pointer} {faults[0].detail}", faults=faults)
    rows = unpack(given)
    return {tensor.name: taken(tensor, rows[tensor.name]) for tensor in manifest.inputs}


def misfit(tensor: Tensor, given: wire.Tensor) -> Fault | None:
    """What keeps a given tensor from being this input."""
    fits = len(given.shape) == len(tensor.shape) and all(
        size in (-1, got) for size, got in zip(tensor.shape, given.shape, strict=True)
    )
    if fits and convertible(given.datatype, tensor.datatype):
        return None
    expected, got = f"{tensor.datatype} {list(tensor.shape)}", f"{given.datatype} {list(given.shape)}"
    return Fault(pointer(tensor.name), f"must be {expected}, and {got} was given")


def convertible(given: str, wanted: str) -> bool:
    """Whether every value of one datatype is one of the other, floats but for their precision."""
    if given == wanted:
        return True
    if given not in DTYPES or wanted not in DTYPES:
        return False
    floats = DATATYPES[given].kind == DATATYPES[wanted].kind == "float"
    return floats or np.can_cast(DTYPES[given], DTYPES[wanted], "safe")


def taken(tensor: Tensor, rows: Rows) -> Rows:
    """The rows in the declared datatype; raises InvalidInput where one is not finite and need be."""
    if tensor.datatype not in DTYPES:
        return rows
    if isinstance(rows, list):
        return [converted(tensor, row) for row in rows]
    return converted(tensor, rows)


def converted(tensor: Tensor, array: Array) -> Array:
    with np.errstate(over="ignore"):
        array = array.astype(DTYPES[tensor.datatype], copy=False)
    if DATATYPES[tensor.datatype].kind == "float" and not tensor.nan and not np.isfinite(array).all():
        where = pointer(tensor.name)
        reason = "must be finite, and holds NaN or an infinity"
        raise InvalidInput(f"{where} {reason}", faults=[Fault(where, reason)])
    return array
