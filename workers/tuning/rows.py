"""One row of a manifest's example, as a job would send it."""

from base64 import b64encode
from typing import Any

from errors import ManifestError
from models import rawdata, signature
from models.filling import filled
from models.manifest import Manifest, Tensor


def one_row(manifest: Manifest) -> dict[str, object]:
    """The example's first row, or the example where the model takes no rows; raises ManifestError without one."""
    if manifest.example is None:
        raise ManifestError(
            f"model {manifest.name!r} has no example in its manifest; give it one: it is what is measured"
        )
    example = filled(manifest)
    if not manifest.rowed:
        return example
    return {tensor.name: first(tensor, example[tensor.name]) for tensor in manifest.inputs}


def first(tensor: Tensor, value: Any) -> object:
    if isinstance(value, dict) and tensor.datatype != "BYTES":
        rows, *rest = rawdata.resolve_shape(tensor, value)
        data = rawdata.decode(value["b64"])
        return {"b64": b64encode(data[: len(data) // rows]).decode(), "shape": [1, *rest]}
    return value[:1] if signature.depth(value) == len(tensor.shape) else value
