"""OpenVINO on the CPU: what other frameworks wrote, read directly.

Exactly one of these in the version's folder, or what `options.file` names:

- `model.xml` with `model.bin`: OpenVINO's own format.
- `model.onnx`.
- `model.tflite`.
- `saved_model/`: a folder with TensorFlow's `saved_model.pb` (and `variables/`).

`options.precision`: `fp32` (default), `bf16`, `fp16`; `options.config`: further properties of OpenVINO's CPU plugin.
Properties: https://docs.openvino.ai, "Query Device Properties".
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from errors import LoadError, ModelError
from models.arrays import Array, Batch
from models.catalog import Entry
from models.handler import Handler
from models.manifest import Manifest, Tensor
from models.runtimes import files, naming

# OpenVINO tells its makers of every import, over the network, unless this package is missing.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino as openvino  # noqa: E402 - after the line above

FILES = ("model.xml", "model.onnx", "model.tflite", "saved_model")
PRECISIONS = {"fp32": "f32", "fp16": "f16", "bf16": "bf16"}
#: Longest part of OpenVINO's own words that goes into an error, in characters; it prints its call chain.
MAX_REASON = 300


class OpenVinoRuntime:
    """A compiled model with one request that is used again and again."""

    def __init__(self, compiled: Any, manifest: Manifest) -> None:
        self.request = compiled.create_infer_request()
        self.inputs = {named(port, manifest.inputs): port for port in compiled.inputs}
        self.outputs = {named(port, manifest.outputs): port for port in compiled.outputs}

    def predict(self, tensors: Batch) -> Batch:
        feed = {self.port(name): array(rows) for name, rows in tensors.items()}
        try:
            # Inputs are read where they lie; outputs are copied, since the next batch overwrites what they lie in.
            results = self.request.infer(feed, share_inputs=True, share_outputs=False)
        except RuntimeError as error:
            raise RuntimeError(reason(error)) from error
        made = {name: results[port] for name, port in self.outputs.items()}
        return {name: rows.tolist() if rows.dtype.kind in "US" else rows for name, rows in made.items()}

    def port(self, name: str) -> Any:
        try:
            return self.inputs[name]
        except KeyError as error:
            raise ModelError(f"the graph has no input {name!r}, only {sorted(self.inputs)}") from error


def array(rows: Any) -> Array:
    if isinstance(rows, list):
        return np.array([row.encode() if isinstance(row, str) else row for row in rows], dtype=bytes)
    return np.asarray(rows)


def load(entry: Entry, device: str, handler: Handler) -> OpenVinoRuntime:
    """A compiled model; raises LoadError where file, names, options or device are not right."""
    if device != "cpu":
        raise LoadError(
            f"{entry.path}: runtime 'openvino' runs on the CPU only, not on {device!r}; "
            "say `pools: [cpu]`, or choose runtime 'onnx' or 'torch' for a GPU"
        )
    runtime = OpenVinoRuntime(compiled(files.chosen(entry, FILES), properties(entry)), entry.manifest)
    naming.compare(entry, "inputs", list(runtime.inputs), handler.preprocess is not None)
    naming.compare(entry, "outputs", list(runtime.outputs), handler.postprocess is not None)
    return runtime


def compiled(file: Path, config: dict[str, Any]) -> Any:
    if file.is_dir() and not (file / "saved_model.pb").is_file():
        raise LoadError(f"{file}: holds no saved_model.pb, so it is no SavedModel of TensorFlow")
    if file.is_file() and file.suffix not in (".xml", ".onnx", ".tflite"):
        raise LoadError(f"{file}: runtime 'openvino' reads .xml, .onnx, .tflite and SavedModel folders")
    core = openvino.Core()
    try:
        return core.compile_model(core.read_model(file), "CPU", config)
    except RuntimeError as error:
        raise LoadError(f"{file}: OpenVINO cannot load it: {reason(error)}") from error


def properties(entry: Entry) -> dict[str, Any]:
    """How the CPU plugin runs this model; raises LoadError where an option is unknown."""
    options = entry.manifest.options
    precision = options.get("precision", "fp32")
    if precision not in PRECISIONS:
        raise LoadError(f"{entry.path}: options.precision {precision!r} is none of {', '.join(PRECISIONS)}")
    config = options.get("config", {})
    if not isinstance(config, dict):
        raise LoadError(f"{entry.path}: options.config must map names of OpenVINO's properties to values")
    exact = {"EXECUTION_MODE_HINT": "ACCURACY"} if precision == "fp32" else {}
    return {
        "INFERENCE_NUM_THREADS": entry.manifest.threads,
        "NUM_STREAMS": 1,
        # Pinned, two executors of one thread each land on the same core and halve each other.
        "ENABLE_CPU_PINNING": False,
        # Left to itself it computes in bf16 where the processor can.
        "INFERENCE_PRECISION_HINT": PRECISIONS[precision],
        **exact,
        **config,
    }


def named(port: Any, declared: Iterable[Tensor]) -> str:
    """The name of an input or output: one that the manifest uses, or the shortest of several."""
    names: set[str] = port.get_names() or {port.node.get_friendly_name()}
    return min(names & {tensor.name for tensor in declared} or names, key=lambda name: (len(name), name))


def reason(error: Exception) -> str:
    """OpenVINO's own words without its source files."""
    lines = (line.strip() for line in str(error).splitlines())
    told = [line for line in lines if line and not line.startswith(("Exception from", "Check '"))]
    return " ".join(told)[:MAX_REASON] or type(error).__name__
