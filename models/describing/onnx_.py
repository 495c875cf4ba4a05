"""ONNX: what the graph declares."""

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from errors import LoadError
from models.describing import Description, Port
from models.describing.trial import sizes
from models.package import path_complaint
from models.runtimes.onnx_ import open_session

#: ONNX's names of element types (onnx.proto, TensorProto.DataType) as they stand in a session's signature.
DATATYPES = {
    "bool": "BOOL",
    "string": "BYTES",
    "float16": "FP16",
    "float": "FP32",
    "double": "FP64",
    **{f"{sign}int{bits}": f"{sign.upper()}INT{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}
#: Fields of onnx.proto that lead to tensors, by message; ("tensor", 13) are the places of external data.
FIELDS = {
    ("model", 7): "graph",
    ("model", 25): "function",
    ("function", 7): "node",
    ("graph", 1): "node",
    ("graph", 5): "tensor",
    ("node", 5): "attribute",
    ("attribute", 5): "tensor",
    ("attribute", 6): "graph",
    ("attribute", 10): "tensor",
    ("attribute", 11): "graph",
    ("tensor", 13): "entry",
}


def describe(file: Path) -> Description:
    """Raises LoadError for a graph that Penstock cannot serve."""
    session = open_session(file, "cpu")
    inputs = tuple(port(node) for node in session.get_inputs())
    outputs = tuple(port(node) for node in session.get_outputs())
    found = sizes(inputs, lambda feed: session.run(None, feed))
    return Description(inputs, outputs, found, tuple(sorted(set(external(file)))))


def port(node: Any) -> Port:
    element = node.type.removeprefix("tensor(").removesuffix(")")
    if element not in DATATYPES:
        raise LoadError(f"{node.name!r} is a {node.type}, which no datatype stands for; export it as a plain tensor")
    # A symbol, or nothing, where the size is open.
    return Port(node.name, DATATYPES[element], tuple(s if isinstance(s, int) and s > 0 else -1 for s in node.shape))


def external(file: Path) -> Iterator[str]:
    """Files that the graph keeps its weights in, relative to its folder; raises LoadError for one elsewhere."""
    with (
        file.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data,
        memoryview(data) as view,
    ):
        places = [bytes(place).decode() for place in locations(view, "model")]
    for place in places:
        if reason := path_complaint(place):
            raise LoadError(f"it keeps weights in another file, {reason}")
        yield place


def locations(data: memoryview, message: str) -> Iterator[memoryview]:
    """The values of `location` in every tensor's external data (StringStringEntryProto: 1 is the key, 2 the value)."""
    if message == "entry":
        pair = dict(fields(data))
        if bytes(pair.get(1, b"")) == b"location":
            yield pair[2]
        return
    for number, value in fields(data):
        if inner := FIELDS.get((message, number)):
            yield from locations(value, inner)


def fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The length-delimited fields of a protobuf message (protobuf.dev, "Encoding")."""
    place = 0
    while place < len(data):
        key, place = varint(data, place)
        kind = key & 7
        if kind == 2:
            length, place = varint(data, place)
            yield key >> 3, data[place : place + length]
            place += length
        elif kind == 0:
            _, place = varint(data, place)
        else:
            place += {1: 8, 5: 4}[kind]


def varint(data: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while data[place] & 0x80:
        value |= (data[place] & 0x7F) << shift
        shift, place = shift + 7, place + 1
    return value | data[place] << shift, place + 1
