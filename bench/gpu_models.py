"""Networks with random weights, and the model repository that holds them: `torch` at each precision, and ONNX.

A model's `handler.py` is a file of `bench/torch_networks`, so that what is measured is what a user would write.
"""

import base64
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from safetensors.torch import save_file

from bench import models as onnx_networks
from bench.repository import QUEUE
from models.arrays import Batch
from models.handler import import_file

SEED = 20
NETWORKS = Path(__file__).parent / "torch_networks"


@dataclass(frozen=True)
class Shape:
    """One network: its inputs and outputs, and how a row is drawn."""

    name: str
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    #: Largest number that a row may hold, exclusive.
    high: int

    def rows(self, count: int) -> Batch:
        random = np.random.default_rng(SEED)
        dtype = np.dtype(self.inputs["datatype"].lower())
        return {self.inputs["name"]: random.integers(0, self.high, (count, *self.inputs["shape"][1:]), dtype)}


SHAPES = {
    "cnn": Shape(
        "cnn",
        {"name": "image", "datatype": "UINT8", "shape": [-1, 224, 224, 3]},
        {"name": "logits", "datatype": "FP32", "shape": [-1, 1000]},
        256,
    ),
    "encoder": Shape(
        "encoder",
        {"name": "tokens", "datatype": "INT64", "shape": [-1, 32]},
        {"name": "embedding", "datatype": "FP32", "shape": [-1, 384]},
        30522,
    ),
}


@dataclass(frozen=True)
class Variant:
    """A network as one runtime runs it."""

    shape: Shape
    runtime: str
    precision: str = "fp32"

    @property
    def name(self) -> str:
        return f"{self.shape.name}-{self.runtime}-{self.precision}"


def variants(only: Sequence[str], device: str) -> list[Variant]:
    """Every network on every runtime and precision that the device is for; raises ValueError on an unknown name."""
    if unknown := set(only) - set(SHAPES):
        raise ValueError(f"no network {sorted(unknown)[0]!r}; there are {', '.join(SHAPES)}")
    precisions = ("fp32", "fp16", "bf16") if device == "cuda" else ("fp32", "bf16")
    shapes = [shape for name, shape in SHAPES.items() if not only or name in only]
    made = [Variant(shape, "torch", precision) for shape in shapes for precision in precisions]
    return made + [Variant(shape, "onnx") for shape in shapes if shape.name == "cnn"]


def build(folder: Path, variant: Variant, pool: str, max_items: int) -> None:
    """Write the model into the repository `folder`, whose example is one row; weights are the same for each."""
    shape, target = variant.shape, folder / variant.name
    (target / "1").mkdir(parents=True)
    manifest = {
        "name": variant.name,
        "runtime": variant.runtime,
        "pools": [pool],
        "inputs": [shape.inputs],
        "outputs": [shape.outputs],
        "batching": {"max_items": max_items},
        "limits": {"queue": QUEUE},
        "example": inputs(shape, 1),
        "options": {"precision": variant.precision, "channels_last": shape.name == "cnn"},
    }
    (target / "model.yaml").write_text(yaml.safe_dump(manifest, sort_keys=False))
    if variant.runtime == "onnx":
        onnx_networks.write(target / "1" / "model.onnx")
        return
    shutil.copy(NETWORKS / f"{shape.name}.py", target / "handler.py")
    torch.manual_seed(SEED)
    network = import_file(NETWORKS / f"{shape.name}.py", f"bench_network_{shape.name}").Network()
    save_file(network.state_dict(), target / "1" / "model.safetensors")


def inputs(shape: Shape, count: int) -> dict[str, Any]:
    """Rows as a job's JSON."""
    (rows,) = shape.rows(count).values()
    if shape.inputs["datatype"] != "UINT8":
        return {shape.inputs["name"]: np.asarray(rows).tolist()}
    data = base64.b64encode(np.asarray(rows).tobytes()).decode()
    return {shape.inputs["name"]: {"b64": data, "shape": list(np.asarray(rows).shape)}}


def workload(variant: Variant, rows: int, expected: Batch, file: Path) -> Path:
    """Write what `bench.load` reads: one job of so many rows, and the model's own answer to it."""
    output = variant.shape.outputs["name"]
    content = {
        "name": variant.name,
        "output": output,
        # Batches of another size round differently, the more so at half precision.
        "tolerance": 0.05 if variant.precision == "fp32" else 1.0,
        "per_body": 1,
        "bodies": 1,
        "inputs": [inputs(variant.shape, rows)],
        "expected": [np.asarray(expected[output], dtype=np.float64).ravel().tolist()],
    }
    file.write_text(json.dumps(content, separators=(",", ":")))
    return file
