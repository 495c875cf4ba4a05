"""A manifest written from what a model's file says of itself."""

import json
import math
import re

import msgspec

from models.describing import Description, Port
from models.describing.trial import NUMBER, TEXT
from models.filling import fill

#: Up to so many elements an example is written out, so that users see what an input looks like.
WRITTEN_ELEMENTS = 64
#: Names that are themselves in YAML, and not a boolean or null.
PLAIN = re.compile(r"(?!(?:y|n|yes|no|on|off|true|false|null)$)[A-Za-z_][A-Za-z0-9_]*", re.IGNORECASE)

TEMPLATE = """\
# Written by `penstock models init` from {origin}.
name: {name}
runtime: {runtime}
inputs:
{inputs}
outputs:
{outputs}
batching:
  max_items: {max_items}
instances: 1
threads: 1
example:
{example}
"""


def manifest(name: str, runtime: str, origin: str, description: Description) -> str:
    """The text of a `model.yaml`."""
    examples = zip(description.inputs, description.sizes, strict=True)
    options = f"options: {json.dumps(description.options)}\n" if description.options else ""
    text = TEMPLATE.format(
        origin=json.dumps(origin, ensure_ascii=False),
        name=name,
        runtime=runtime,
        inputs="\n".join(map(tensor, description.inputs)),
        outputs="\n".join(map(tensor, description.outputs)),
        max_items=8 if rowed(description) else 1,
        example="\n".join(f"  {scalar(port.name)}: {example(port, shape)}" for port, shape in examples),
    )
    return text + options


def rowed(description: Description) -> bool:
    """Whether jobs can share a batch: the first axis of every tensor is open."""
    return all(port.shape[:1] == (-1,) for port in (*description.inputs, *description.outputs))


def alone(description: Description) -> Description:
    """The same model with one fixed row axis: its jobs run one by one."""
    inputs = tuple(
        Port(port.name, port.datatype, (sizes[0], *port.shape[1:]))
        for port, sizes in zip(description.inputs, description.sizes, strict=True)
    )
    return msgspec.structs.replace(description, inputs=inputs)


def tensor(port: Port) -> str:
    return f"  - {{name: {scalar(port.name)}, datatype: {port.datatype}, shape: {list(port.shape)}}}"


def scalar(text: str) -> str:
    return text if PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def example(port: Port, shape: tuple[int, ...]) -> str:
    element = value(port)
    if port.datatype != "BYTES" and math.prod(shape) > WRITTEN_ELEMENTS:
        return f"{{fill: {json.dumps(element)}, shape: {list(shape)}}}"
    return json.dumps(nested(element, shape))


def nested(element: object, shape: tuple[int, ...]) -> object:
    return [nested(element, shape[1:])] * shape[0] if shape else element


def value(port: Port, *, other: bool = False) -> bool | float | str:
    """What every element of an example is; `other`: one that differs where that surely is legal."""
    if port.datatype == "BYTES":
        return "another" if other else TEXT
    if port.datatype == "BOOL":
        return True
    if port.datatype.startswith("FP"):
        return NUMBER / 2 if other else NUMBER
    return 1


def inputs(description: Description, *, other: bool = False) -> dict[str, object]:
    """One job's inputs with the sizes that were tried."""
    return {
        port.name: nested(value(port, other=other), shape)
        if port.datatype == "BYTES"
        else fill(port.datatype, value(port, other=other), list(shape), name=port.name)
        for port, shape in zip(description.inputs, description.sizes, strict=True)
    }
