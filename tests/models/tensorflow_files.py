"""A TFLite file and a SavedModel of TensorFlow, written byte by byte: `y = relu(x @ w + b)`.

After schema.fbs of TensorFlow Lite and saved_model.proto, meta_graph.proto, graph.proto, tensor.proto of TensorFlow;
TensorFlow itself (600 MB) is not needed. Matrices are float32.
"""

from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float32]

# schema.fbs: BuiltinOperator.FULLY_CONNECTED, BuiltinOptions.FullyConnectedOptions, ActivationFunctionType.RELU.
FULLY_CONNECTED, FULLY_CONNECTED_OPTIONS, RELU = 9, 8, 1
# types.proto
DT_FLOAT, DT_INT32 = 1, 3


def write_tflite(file: Path, w: Matrix, b: Matrix) -> None:
    """Input `x` [-1, inputs] and output `y` [-1, outputs]."""
    make = flatbuffers.Builder(1024)
    empty = table(make, {})
    buffers = [empty, *(table(make, {0: make.CreateByteVector(data.tobytes())}) for data in (w.T.copy(), b))]
    rows, columns = w.shape
    tensors = [
        tensor(make, "x", [1, rows], 0),
        tensor(make, "w", [columns, rows], 1),
        tensor(make, "b", [columns], 2),
        tensor(make, "y", [1, columns], 0),
    ]
    options = table(make, {0: ("int8", RELU)})
    operator = table(
        make,
        {
            1: vector(make, [0, 1, 2], "int32"),
            2: vector(make, [3], "int32"),
            3: ("uint8", FULLY_CONNECTED_OPTIONS),
            4: options,
        },
    )
    graph = table(
        make,
        {
            0: vector(make, tensors, "offset"),
            1: vector(make, [0], "int32"),
            2: vector(make, [3], "int32"),
            3: vector(make, [operator], "offset"),
            4: make.CreateString("main"),
        },
    )
    code = table(make, {0: ("int8", FULLY_CONNECTED), 2: ("int32", 1), 3: ("int32", FULLY_CONNECTED)})
    parts = {
        0: ("uint32", 3),
        1: vector(make, [code], "offset"),
        2: vector(make, [graph], "offset"),
        4: vector(make, buffers, "offset"),
    }
    make.Finish(table(make, parts), file_identifier=b"TFL3")
    file.write_bytes(make.Output())


def tensor(make: Any, name: str, shape: list[int], buffer: int) -> int:
    variable = [-1, *shape[1:]] if name in ("x", "y") else shape
    fields = {
        0: vector(make, shape, "int32"),
        2: ("uint32", buffer),
        3: make.CreateString(name),
        7: vector(make, variable, "int32"),
    }
    return table(make, fields)


def table(make: Any, fields: dict[int, Any]) -> int:
    """A table of `fields` by number: an offset, or a pair of scalar type and value."""
    make.StartObject(max(fields, default=-1) + 1)
    for slot, value in fields.items():
        if isinstance(value, tuple):
            getattr(make, f"Prepend{value[0].capitalize()}Slot")(slot, value[1], 0)
        else:
            make.PrependUOffsetTRelativeSlot(slot, value, 0)
    offset: int = make.EndObject()
    return offset


def vector(make: Any, values: list[int], kind: str) -> int:
    make.StartVector(4, len(values), 4)
    for value in reversed(values):
        make.PrependUOffsetTRelative(value) if kind == "offset" else make.PrependInt32(value)
    offset: int = make.EndVector()
    return offset


def write_saved_model(folder: Path, w: Matrix, b: Matrix) -> None:
    """Signature `serving_default` from `x` [-1, inputs] to `y` [-1, outputs]; weights are constants of the graph."""
    folder.mkdir()
    shape = [-1, w.shape[0]]
    graph = b"".join(
        field(1, node)
        for node in (
            operation("x", "Placeholder", [], dtype=typed(DT_FLOAT), shape=field(7, dimensions(shape))),
            constant("w", w),
            constant("b", b),
            operation("product", "MatMul", ["x", "w"], T=typed(DT_FLOAT)),
            operation("sum", "BiasAdd", ["product", "b"], T=typed(DT_FLOAT)),
            operation("y", "Relu", ["sum"], T=typed(DT_FLOAT)),
        )
    )
    sides = entry(1, b"x", info("x:0", shape)) + entry(2, b"y", info("y:0", [-1, w.shape[1]]))
    signature = sides + field(3, b"tensorflow/serving/predict")
    meta_graph = field(1, field(4, b"serve")) + field(2, graph) + entry(5, b"serving_default", signature)
    (folder / "saved_model.pb").write_bytes(number(1, 1) + field(2, meta_graph))


def operation(name: str, op: str, inputs: list[str], **attributes: bytes) -> bytes:
    parts = field(1, name.encode()) + field(2, op.encode()) + b"".join(field(3, given.encode()) for given in inputs)
    return parts + b"".join(entry(5, key.encode(), value) for key, value in attributes.items())


def constant(name: str, values: Matrix) -> bytes:
    content = number(1, DT_FLOAT) + field(2, dimensions(list(values.shape))) + field(4, values.tobytes())
    return operation(name, "Const", [], dtype=typed(DT_FLOAT), value=field(8, content))


def info(name: str, shape: list[int]) -> bytes:
    return field(1, name.encode()) + number(2, DT_FLOAT) + field(3, dimensions(shape))


def typed(datatype: int) -> bytes:
    return number(6, datatype)


def dimensions(shape: list[int]) -> bytes:
    return b"".join(field(2, number(1, size)) for size in shape)


def entry(tag: int, key: bytes, value: bytes) -> bytes:
    """One pair of a map."""
    return field(tag, field(1, key) + field(2, value))


def field(tag: int, content: bytes) -> bytes:
    """A length-delimited field of protobuf's wire format."""
    return varint(tag << 3 | 2) + varint(len(content)) + content


def number(tag: int, value: int) -> bytes:
    return varint(tag << 3) + varint(value % 2**64)


def varint(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*made, value])
