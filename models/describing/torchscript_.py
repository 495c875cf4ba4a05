"""TorchScript: it names its inputs, and says nothing of their sizes; those are told by whoever asks."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from errors import LoadError
from models.describing import Description, Port
from models.describing.torch_ import names, port
from models.describing.trial import sizes, values


def describe(file: Path, told: Sequence[Port]) -> Description:
    """Raises LoadError where the program does not run on the inputs that it is said to have."""
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        network = torch.jit.load(file, map_location="cpu").eval()  # type: ignore[no-untyped-call]
    wanted = [argument.name for argument in network.forward.schema.arguments[1:]]
    if len(told) != len(wanted):
        shown = " ".join(f"--input {name}:FP32:-1,3,224,224" for name in wanted)
        raise LoadError(f"TorchScript does not say of what datatype and shape its inputs are; tell it, e.g. {shown}")

    def run(feed: dict[str, Any]) -> Any:
        with torch.inference_mode():
            return network(*[torch.from_numpy(value) for value in feed.values()])

    found = sizes(told, run)
    first = tensors(run(made(told, found)))
    # What is open in the outputs shows when what is open in the inputs changes.
    other = tensors(run(made(told, larger(told, found))))
    outputs = [open_axes(port(name, first[name]), other[name]) for name in first]
    return Description(tuple(told), tuple(outputs), found, options={"torchscript": True})


def made(told: Sequence[Port], shapes: Sequence[tuple[int, ...]]) -> dict[str, Any]:
    return {one.name: values(one, shape) for one, shape in zip(told, shapes, strict=True)}


def larger(told: Sequence[Port], found: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    return [
        tuple(size * 2 if open_ == -1 else size for open_, size in zip(one.shape, shape, strict=True))
        for one, shape in zip(told, found, strict=True)
    ]


def tensors(result: Any) -> dict[str, Any]:
    called = names(result)
    if isinstance(result, dict):
        return result
    return dict(zip(called, list(result) if isinstance(result, (tuple, list)) else [result], strict=True))


def open_axes(one: Port, other: Any) -> Port:
    shape = tuple(size if size == again else -1 for size, again in zip(one.shape, other.shape, strict=True))
    return Port(one.name, one.datatype, shape)
