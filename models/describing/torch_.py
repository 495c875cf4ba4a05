"""A `torch.export` archive: what the exported program declares."""

from pathlib import Path
from typing import Any

import torch
from torch.utils import _pytree as pytree

from errors import LoadError
from models.describing import Description, Port
from models.describing.trial import sizes

DATATYPES = {
    torch.bool: "BOOL",
    torch.float16: "FP16",
    torch.float32: "FP32",
    torch.float64: "FP64",
    torch.int8: "INT8",
    torch.int16: "INT16",
    torch.int32: "INT32",
    torch.int64: "INT64",
    torch.uint8: "UINT8",
    torch.uint16: "UINT16",
    torch.uint32: "UINT32",
    torch.uint64: "UINT64",
}


def describe(file: Path) -> Description:
    """Raises LoadError for a program that Penstock cannot call: one that takes or gives anything but tensors."""
    program = torch.export.load(file)
    nodes = {node.name: node.meta.get("val") for node in program.graph.nodes}
    wanted = list(program.graph_signature.user_inputs)
    _, keywords = program.call_spec.in_spec.children() if program.call_spec.in_spec else (None, None)
    if keywords is not None and keywords.num_leaves:
        raise LoadError("it takes keyword arguments; export it with positional ones")
    inputs = tuple(port(str(name), nodes.get(str(name))) for name in wanted)
    module = program.module()
    results: list[Any] = []

    def run(feed: dict[str, Any]) -> None:
        with torch.inference_mode():
            results[:] = [module(*[torch.from_numpy(value) for value in feed.values()])]

    found = sizes(inputs, run)
    values = [nodes.get(str(name)) for name in program.graph_signature.user_outputs]
    outputs = tuple(port(name, value) for name, value in zip(names(results[0]), values, strict=True))
    return Description(inputs, outputs, found)


def port(name: str, value: Any) -> Port:
    if not isinstance(value, torch.Tensor) or value.dtype not in DATATYPES:
        what = str(value.dtype) if isinstance(value, torch.Tensor) else type(value).__name__
        raise LoadError(f"{name!r} is {what}, which no datatype stands for; export it with plain tensors")
    return Port(name, DATATYPES[value.dtype], tuple(size if isinstance(size, int) else -1 for size in value.shape))


def names(result: Any) -> list[str]:
    """What the outputs are called: by the keys of a dict, else by position."""
    if isinstance(result, dict):
        if not all(isinstance(value, torch.Tensor) for value in result.values()):
            raise LoadError("it returns a dict of more than tensors")
        return [str(name) for name in result]
    if isinstance(result, torch.Tensor):
        return ["output"]
    if isinstance(result, (tuple, list)) and len(pytree.tree_leaves(result)) == len(result):
        return [f"output_{place}" for place in range(len(result))]
    raise LoadError(f"it returns {type(result).__name__}; a tensor, several, or a dict of them can be served")
