"""ONNX Runtime: `model.onnx` in the version's folder (`options.file` names another)."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from errors import LoadError
from models.arrays import Batch
from models.catalog import Entry
from models.handler import Handler
from models.runtimes import files, naming


class OnnxRuntime:
    """A session with one signature: names as in the graph."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self.session = session
        self.inputs = [node.name for node in session.get_inputs()]
        self.outputs = [node.name for node in session.get_outputs()]

    def predict(self, tensors: Batch) -> Batch:
        feed = {
            name: np.array(rows, dtype=object) if isinstance(rows, list) else rows for name, rows in tensors.items()
        }
        results = self.session.run(self.outputs, feed)
        return {
            name: result.tolist() if getattr(result, "dtype", np.dtype("b")).kind == "O" else result
            for name, result in zip(self.outputs, results, strict=True)
        }


def load(entry: Entry, device: str, handler: Handler) -> OnnxRuntime:
    """A ready session; raises LoadError where file, signature or device is not as the manifest says."""
    file = files.inside(entry, entry.manifest.options.get("file", "model.onnx"))
    runtime = OnnxRuntime(open_session(file, device, threads=entry.manifest.threads))
    naming.compare(entry, "inputs", runtime.inputs, handler.preprocess is not None)
    naming.compare(entry, "outputs", runtime.outputs, handler.postprocess is not None)
    return runtime


def open_session(file: Path, device: str, *, threads: int = 1, varied: bool = True) -> ort.InferenceSession:
    """A session on `device`, with `threads` threads of its own; raises LoadError, never falls back to the CPU.

    `varied`: shapes differ from call to call.
    """
    if not file.is_file():
        raise LoadError(f"{file}: no such file")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    # Idle threads that spin take the core from whoever prepares the next batch.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # A memory plan is kept for each shape ever seen: with shapes without number, a leak.
    options.enable_mem_pattern = not varied
    options.log_severity_level = 3
    session = ort.InferenceSession(str(file), options, providers=providers(device))
    # The -gpu wheel lists CUDA as available even where it cannot load it: ask the session what it got.
    if device.startswith("cuda") and "CUDAExecutionProvider" not in session.get_providers():
        raise LoadError(f"{file}: ONNX Runtime cannot use {device}; is the CUDA library it needs installed?")
    return session


def providers(device: str) -> list[Any]:
    if device == "cpu":
        return ["CPUExecutionProvider"]
    kind, _, index = device.partition(":")
    if kind != "cuda":
        raise LoadError(f"runtime 'onnx' knows the devices cpu and cuda[:n], not {device!r}")
    if hasattr(ort, "preload_dlls"):
        # CUDA and cuDNN may come as wheels, beside torch, where the loader does not look.
        ort.preload_dlls()
    return [("CUDAExecutionProvider", {"device_id": int(index or 0)}), "CPUExecutionProvider"]
