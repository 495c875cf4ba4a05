"""A convolutional network to measure with, as ONNX.

It has the shape of ResNet-18 (He et al., https://arxiv.org/abs/1512.03385) with batch normalisation folded
into the convolutions, as an export for inference has it, and random weights: 11.7 million of them, 1.8 GFLOP a picture.

It takes pictures as uint8 and normalises them itself, since pixels are bytes: as float32 a picture would be four times
as long on every hop between client and model.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SEED = 18
#: Height, width and channels of a picture.
PICTURE = (224, 224, 3)
CLASSES = 1000
#: Of each stage: its channels, and the stride of its first block.
STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))
BLOCKS = 2
#: Mean and deviation of ImageNet's pixels by channel, as nearly every published network is fed.
MEAN, DEVIATION = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
OPSET = 17


class Graph:
    """Nodes and weights, each node's output named by its place."""

    def __init__(self, seed: int) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self._random = np.random.default_rng(seed)

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        output = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def weight(self, values: Any) -> str:
        name = f"weight_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values, dtype=np.float32), name))
        return name

    def conv(self, x: str, channels: tuple[int, int], size: int, stride: int = 1, *, gain: float = 2.0) -> str:
        """Weights so that activations keep their scale (He et al., https://arxiv.org/abs/1502.01852)."""
        before, after = channels
        scale = np.sqrt(gain / (before * size * size))
        kernel = self._random.standard_normal((after, before, size, size)) * scale
        bias = self._random.standard_normal(after) * 0.01
        pads = [size // 2] * 4
        return self.add("Conv", x, self.weight(kernel), self.weight(bias), strides=[stride] * 2, pads=pads)

    def block(self, x: str, before: int, after: int, stride: int) -> str:
        """Two convolutions and the way around them."""
        inner = self.add("Relu", self.conv(x, (before, after), 3, stride))
        # Half of the sum's variance comes each way, so that it does not grow from block to block.
        inner = self.conv(inner, (after, after), 3, gain=1.0)
        around = x if before == after else self.conv(x, (before, after), 1, stride, gain=1.0)
        return self.add("Relu", self.add("Add", inner, around))


def blocks() -> Iterator[tuple[int, int, int]]:
    """Channels before and after, and the stride, of each block."""
    before = STAGES[0][0]
    for channels, stride in STAGES:
        for place in range(BLOCKS):
            yield before, channels, stride if place == 0 else 1
            before = channels


def network(seed: int = SEED) -> Any:
    """uint8 `image` [n, 224, 224, 3] -> float32 `logits` [n, 1000]."""
    graph = Graph(seed)
    x = graph.add("Cast", "image", to=TensorProto.FLOAT)
    x = graph.add("Div", graph.add("Sub", x, graph.weight(MEAN)), graph.weight(DEVIATION))
    x = graph.add("Transpose", x, perm=[0, 3, 1, 2])
    x = graph.add("Relu", graph.conv(x, (PICTURE[2], STAGES[0][0]), 7, 2))
    x = graph.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for before, after, stride in blocks():
        x = graph.block(x, before, after, stride)
    x = graph.add("Flatten", graph.add("GlobalAveragePool", x))
    last = STAGES[-1][0]
    matrix = np.random.default_rng(seed + 1).standard_normal((last, CLASSES)) / np.sqrt(last)
    graph.nodes.append(helper.make_node("MatMul", [x, graph.weight(matrix)], ["logits"]))
    picture = helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", *PICTURE])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", CLASSES])
    made = helper.make_graph(graph.nodes, "cnn", [picture], [logits], initializer=graph.weights)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)


def write(file: Path) -> None:
    onnx.save(network(), str(file))
