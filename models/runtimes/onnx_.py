"""ONNX Runtime: `model.onnx` in the version's folder (`options.file` names another).

`options.providers`: see `models.runtimes.onnx_providers`. `options.shrink_memory`: give memory that a large batch took
back after each batch.
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from errors import LoadError
from models.arrays import Array, Batch
from models.catalog import Entry
from models.handler import Handler
from models.runtimes import files, naming, onnx_providers, onnx_weights
from models.runtimes.pinned import PinnedMemory, Staging


class OnnxRuntime:
    """A session with one signature: names as in the graph."""

    #: Numbers of rows to run before the model counts as ready.
    warm_rows: tuple[int, ...] = ()

    def __init__(self, session: ort.InferenceSession, *, staging: Staging | None = None, shrink: str = "") -> None:
        self.session = session
        self.inputs = [node.name for node in session.get_inputs()]
        self.outputs = [node.name for node in session.get_outputs()]
        #: Where inputs wait for a GPU; None: the session reads them where they lie.
        self.staging = staging
        self.run_options = ort.RunOptions()
        if shrink:
            self.run_options.add_run_config_entry("memory.enable_memory_arena_shrinkage", shrink)

    def predict(self, tensors: Batch) -> Batch:
        feed = {
            name: np.array(rows, dtype=object) if isinstance(rows, list) else rows for name, rows in tensors.items()
        }
        # ONNX Runtime binds no strings.
        bound = self.staging is not None and all(rows.dtype != object for rows in feed.values())
        results = self.run_bound(feed) if bound else self.session.run(self.outputs, feed, self.run_options)
        return {
            name: result.tolist() if getattr(result, "dtype", np.dtype("b")).kind == "O" else result
            for name, result in zip(self.outputs, results, strict=True)
        }

    def run_bound(self, feed: dict[str, Array]) -> list[Array]:
        """Run with inputs in page-locked memory, and outputs that go to the host in one step after the last node."""
        if self.staging is None:
            raise ValueError("there is nowhere to stage inputs")
        binding = self.session.io_binding()
        for name, rows in feed.items():
            placed = self.staging.place(name, rows)
            binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(placed))
        for name in self.outputs:
            binding.bind_output(name)
        self.session.run_with_iobinding(binding, self.run_options)
        results: list[Array] = binding.copy_outputs_to_cpu()
        return results


def load(entry: Entry, device: str, handler: Handler) -> OnnxRuntime:
    """A ready session; raises LoadError where file, signature or device is not as the manifest says."""
    options = entry.manifest.options
    file = files.inside(entry, options.get("file", "model.onnx"))
    session = open_session(file, device, threads=entry.manifest.threads, options=options)
    kind, _, index = device.partition(":")
    staging = Staging(PinnedMemory(int(index or 0))) if kind == "cuda" else None
    shrink = f"{'gpu' if kind == 'cuda' else 'cpu'}:{index or 0}" if options.get("shrink_memory") else ""
    runtime = OnnxRuntime(session, staging=staging, shrink=shrink)
    if kind == "cuda":
        # A GPU chooses its kernels, and TensorRT builds its engine, at the first batch of a size.
        runtime.warm_rows = (1, entry.manifest.batching.max_items)
    naming.compare(entry, "inputs", runtime.inputs, handler.preprocess is not None)
    naming.compare(entry, "outputs", runtime.outputs, handler.postprocess is not None)
    return runtime


def open_session(
    file: Path, device: str, *, threads: int = 1, varied: bool = True, options: dict[str, Any] | None = None
) -> ort.InferenceSession:
    """A session on `device`, with `threads` threads of its own; raises LoadError, never falls back to the CPU.

    `varied`: shapes differ from call to call. `options`: a manifest's, of which `providers` is looked at.
    """
    if not file.is_file():
        raise LoadError(f"{file}: no such file")
    wanted = onnx_providers.wanted(options or {}, device)
    providers = onnx_providers.require(wanted)
    session: ort.InferenceSession | None = None
    if wanted == [("CPU", {})]:
        session = onnx_weights.shared_session(file, partial(session_options, threads, varied))
    # Without `enable_fallback` it tries again on the CPU where a provider fails, and says so on standard output only.
    session = session or ort.InferenceSession(
        str(file), session_options(threads, varied), providers=providers, enable_fallback=0
    )
    onnx_providers.hold(session, wanted)
    return session


def session_options(threads: int, varied: bool) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    # Idle threads that spin take the core from whoever prepares the next batch: two sessions of two threads on two
    # cores took 9 to 10 ms of CPU a row instead of 5.6.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Weights lie outside of the arena, whose steps in size would waste memory on them.
    options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
    # Lets `hold` see where each node runs.
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    # A memory plan is kept for each shape ever seen: with shapes without number, a leak.
    options.enable_mem_pattern = not varied
    options.log_severity_level = 3
    return options
