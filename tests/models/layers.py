"""An ONNX graph of nothing but weights, as many as a test wants."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

#: Numbers in a row; a layer has 4 MiB of weights.
WIDTH = 1024


def graph(folder: Path, *, layers: int = 4, seed: int = 0) -> Path:
    """Write `model.onnx`, which takes `x` to `y`, both FP32 [-1, WIDTH]; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    weights = [
        numpy_helper.from_array(random.standard_normal((WIDTH, WIDTH), np.float32) / 32, f"w{n}") for n in range(layers)
    ]
    names = ["x", *(f"h{n}" for n in range(layers - 1)), "y"]
    nodes = [helper.make_node("MatMul", [names[n], f"w{n}"], [names[n + 1]]) for n in range(layers)]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", WIDTH]) for name in ("x", "y")]
    made = helper.make_model(
        helper.make_graph(nodes, "layers", ends[:1], ends[1:], weights),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    onnx.save(made, folder / "model.onnx")
    return folder / "model.onnx"
