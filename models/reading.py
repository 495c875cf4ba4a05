"""`model.yaml` -> Manifest. Every complaint names the file, the key and the reason."""

import math
import re
from pathlib import Path

import msgspec
import yaml

from errors import InvalidInput, ManifestError
from models import graph, signature
from models.datatypes import DATATYPES, INPUT_DATATYPES, MAX_RANK, MAX_TENSOR_BYTES
from models.filling import filled
from models.manifest import PIPELINE, Manifest, Tensor, VersionPolicy
from models.runtimes import RUNTIMES

FILE = "model.yaml"
#: Names stand in queue names (`<pool>.<model>.<version>.<lane>`), so no dot.
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
TENSOR_NAME = re.compile(r"[^\s/\x00-\x1f]{1,128}")


def read(folder: Path) -> Manifest:
    """The manifest of the model in `folder`; raises ManifestError."""
    return read_file(folder / FILE, folder.name)


def read_version(folder: Path, model: Manifest) -> Manifest:
    """The manifest of the version in `folder`: its own where it holds one, else the model's; raises ManifestError."""
    file = folder / FILE
    if not file.is_file():
        return model
    manifest = read_file(file, folder.parent.name)
    if manifest.version_policy != VersionPolicy(latest=1):
        raise ManifestError(f"{file}: version_policy: belongs in the model's own manifest, {folder.parent / FILE}")
    return msgspec.structs.replace(manifest, version_policy=model.version_policy)


def read_file(file: Path, name: str) -> Manifest:
    """The manifest in `file`, of the model `name`; raises ManifestError."""
    try:
        content = yaml.safe_load(file.read_bytes())
    except FileNotFoundError as error:
        raise ManifestError(f"{file}: no such file; every model folder needs one") from error
    except OSError as error:
        raise ManifestError(f"{file}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ManifestError(f"{file}: not YAML: {one_line(error)}") from error
    manifest = convert(content, file)
    for key, reason in complaints(manifest, name):
        raise ManifestError(f"{file}: {key}: {reason}")
    return manifest


def convert(content: object, file: Path) -> Manifest:
    if not isinstance(content, dict):
        raise ManifestError(f"{file}: must be a mapping of keys, not {type(content).__name__}")
    try:
        return with_runtime(msgspec.convert(content, Manifest))
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$.")
        key = place.rstrip("`") or "(top)"
        raise ManifestError(f"{file}: {key}: {reason}") from error


def with_runtime(manifest: Manifest) -> Manifest:
    if manifest.kind == "pipeline" and not manifest.runtime:
        return msgspec.structs.replace(manifest, runtime=PIPELINE)
    return manifest


def complaints(manifest: Manifest, folder: str) -> list[tuple[str, str]]:
    """Pairs of key and reason, beyond what the types already say."""
    found: list[tuple[str, str]] = []
    if not NAME.fullmatch(manifest.name):
        found.append(("name", f"{manifest.name!r} must match {NAME.pattern}"))
    if manifest.name != folder:
        found.append(("name", f"{manifest.name!r} must equal the folder's name, {folder!r}"))
    if manifest.runtime not in RUNTIMES and manifest.kind == "model":
        fault = f"{manifest.runtime!r} is unknown" if manifest.runtime else "missing"
        found.append(("runtime", f"{fault}; known are {', '.join(RUNTIMES)}"))
    found += graph.complaints(manifest)
    found += [("pools", f"{pool!r} must match {NAME.pattern}") for pool in manifest.pools if not NAME.fullmatch(pool)]
    policy = manifest.version_policy
    if isinstance(policy, VersionPolicy) and (policy.latest is None) == (policy.specific is None):
        found.append(("version_policy", "must be `all`, `{latest: 2}` or `{specific: ['1', '3']}`"))
    for side, tensors in (("inputs", manifest.inputs), ("outputs", manifest.outputs)):
        found += tensor_complaints(side, tensors)
    if manifest.batching.max_items > 1 and not manifest.rowed:
        found.append(("batching.max_items", "above 1 needs shapes that all begin with -1, the row axis"))
    found += weight_complaints(manifest)
    return found or example_complaints(manifest)


def weight_complaints(manifest: Manifest) -> list[tuple[str, str]]:
    weight = manifest.batching.weight
    if weight is None:
        return []
    known = {tensor.name: tensor.datatype for tensor in manifest.inputs}
    if weight.input not in known:
        return [("batching.weight.input", f"{weight.input!r} is none of the inputs {', '.join(known)}")]
    if (known[weight.input] == "BYTES") != (weight.unit != "elements"):
        fitting = "characters or pixels" if known[weight.input] == "BYTES" else "elements"
        return [("batching.weight.unit", f"{weight.unit!r} does not fit {known[weight.input]}; use {fitting}")]
    return []


def tensor_complaints(side: str, tensors: tuple[Tensor, ...]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    allowed = INPUT_DATATYPES if side == "inputs" else tuple(DATATYPES)
    for index, tensor in enumerate(tensors):
        key = f"{side}[{index}]"
        if not TENSOR_NAME.fullmatch(tensor.name):
            found.append((f"{key}.name", f"{tensor.name!r} must be 1 to 128 characters without blanks or slashes"))
        if tensor.name in {other.name for other in tensors[:index]}:
            found.append((f"{key}.name", f"{tensor.name!r} is declared twice"))
        if tensor.datatype not in allowed:
            found.append((f"{key}.datatype", f"{tensor.datatype!r} is none of {', '.join(allowed)}"))
        elif reason := shape_complaint(tensor):
            found.append((f"{key}.shape", reason))
    return found


def shape_complaint(tensor: Tensor) -> str:
    if len(tensor.shape) > MAX_RANK:
        return f"has {len(tensor.shape)} axes; at most {MAX_RANK} are allowed"
    if any(size != -1 and size < 1 for size in tensor.shape):
        return f"{list(tensor.shape)} may hold positive sizes and -1 only"
    if tensor.datatype == "JSON" and len(tensor.shape) != 1:
        return f"{list(tensor.shape)} must have one axis: a row of JSON is one value of any form"
    fixed = math.prod(size for size in tensor.shape if size > 0) * max(DATATYPES[tensor.datatype].size, 1)
    return f"{list(tensor.shape)} takes more than {MAX_TENSOR_BYTES} bytes" if fixed > MAX_TENSOR_BYTES else ""


def example_complaints(manifest: Manifest) -> list[tuple[str, str]]:
    if manifest.example is None:
        return []
    try:
        signature.check(manifest, filled(manifest))
    except ValueError as error:
        return [("example", str(error))]
    except InvalidInput as error:
        return [(f"example{fault.pointer.removeprefix('#/inputs')}", fault.detail) for fault in error.faults]
    return []


def one_line(error: Exception) -> str:
    return " ".join(str(error).split())
