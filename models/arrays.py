"""JSON values to rows, in the executor.

Rows are numpy arrays for numeric tensors, lists of `str | bytes` for BYTES (nested lists above one
axis) and lists of anything for JSON. A batch maps names to rows.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from errors import Fault, InvalidInput
from models import npy, rawdata, signature
from models.datatypes import DATATYPES
from models.manifest import Manifest, Tensor
from models.pointers import pointer

Array = npt.NDArray[Any]
Rows = Array | list[Any]
Batch = dict[str, Rows]
#: Gives the bytes stored under a key.
Fetch = Callable[[str], bytes]

#: The little-endian numpy type of each numeric datatype. By numpy's own spelling: `q` and `l` are two types that are
#: equal on a 64-bit machine, and OpenVINO knows the one only.
DTYPES: dict[str, np.dtype[Any]] = {
    name: np.dtype("?" if datatype.kind == "bool" else np.dtype("<" + datatype.code).str)
    for name, datatype in DATATYPES.items()
    if datatype.size
}


def decode(manifest: Manifest, inputs: Mapping[str, object], fetch: Fetch) -> Batch:
    """A job's inputs as rows, references resolved by `fetch`.

    Raises InvalidInput. Everything is checked here too, because a job may have been pushed without the gateway, and
    because what a reference leads to has not been seen before.
    """
    signature.check(manifest, inputs)
    batch = {tensor.name: rows_of(tensor, inputs[tensor.name], manifest.rowed, fetch) for tensor in manifest.inputs}
    if manifest.rowed and len(batch) > 1:
        counts = {name: len(rows) for name, rows in batch.items()}
        refuse(signature.disagreements(counts))
    return batch


def rows_of(tensor: Tensor, value: object, rowed: bool, fetch: Fetch) -> Rows:
    if isinstance(value, dict) and "object" in value:
        data = fetch(value["object"])
        if value.get("as", "bytes") == "bytes":
            return [data] if tensor.datatype == "BYTES" else npy.read(tensor, data, rowed)
        value = parsed(tensor, data)
        faults: list[Fault] = []
        signature.count_rows(tensor, value, rowed, faults)
        refuse(faults)
    if tensor.datatype == "BYTES":
        return byte_rows(tensor, value, rowed)
    if isinstance(value, dict):
        return raw_rows(tensor, value)
    array = np.array(value, dtype=DTYPES[tensor.datatype])
    return array[None] if array.ndim < len(tensor.shape) else array


def parsed(tensor: Tensor, data: bytes) -> object:
    """An inline value that was moved to the object store; never again a reference."""
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid(tensor, f"the stored value is not JSON: {error}") from error
    if isinstance(value, dict) and "object" in value:
        raise invalid(tensor, "the stored value must not be a reference again")
    return value


def raw_rows(tensor: Tensor, value: dict[str, Any]) -> Array:
    # Through a bytearray, so that the array can be written to: torch asks for it.
    data = bytearray(rawdata.decode(value["b64"]))
    return np.frombuffer(data, DTYPES[tensor.datatype]).reshape(rawdata.resolve_shape(tensor, value))


def byte_rows(tensor: Tensor, value: object, rowed: bool) -> list[Any]:
    single = rowed and signature.depth(value) < len(tensor.shape)
    rows = plain_bytes([value] if single else value)
    return rows if isinstance(rows, list) else [rows]


def plain_bytes(value: Any) -> Any:
    """The value with every `{"b64": …}` as bytes; no deeper than its checked shape."""
    if isinstance(value, list):
        return [plain_bytes(item) for item in value]
    return rawdata.decode(value["b64"]) if isinstance(value, dict) else value


def invalid(tensor: Tensor, reason: str) -> InvalidInput:
    where = pointer(tensor.name)
    return InvalidInput(f"{where} {reason}", faults=[Fault(where, reason)])


def refuse(faults: list[Fault]) -> None:
    if faults:
        raise InvalidInput(f"{faults[0].pointer} {faults[0].detail}", faults=faults)
