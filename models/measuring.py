"""How heavy a job's rows are and what shape they have, so that a worker fills batches without reading inputs.

A batch weighs its rows times the weight of the heaviest, because that is the rectangle a model computes. Light: the
gateway measures JSON values, an executor the rows made of them.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from models import headers, rawdata
from models.manifest import Manifest, Tensor, Weight

#: No row weighs more: beyond it a number is a mistake. Also what the queue message can say.
HEAVIEST = 2**31
#: Characters of base64 that are decoded to find a picture's size: pictures begin with it, after a camera's notes.
HEAD = 256 * 1024


class Measure(NamedTuple):
    """What a worker must know of a job to choose its batch."""

    #: Of the heaviest row; 0: not known, or of no account to this model.
    weight: int = 0
    #: The axes that the model leaves open and does not pad, such as `640x480`; empty: of no account.
    shape: str = ""


PLAIN = Measure()


def measure(manifest: Manifest, inputs: Mapping[str, object]) -> Measure:
    """Weight and shape of inputs that fit the signature."""
    weighed, shaped = manifest.weighed, manifest.shaped
    if not (weighed or shaped):
        return PLAIN
    weights = [heaviest(weight, manifest.input(weight.input), inputs[weight.input]) for weight in weighed]
    return Measure(max(weights, default=0), ",".join(open_axes(tensor, inputs[tensor.name]) for tensor in shaped))


def measure_rows(manifest: Manifest, batch: Mapping[str, Any]) -> Measure:
    """As `measure`, of rows: numpy arrays, or lists of `str | bytes`."""
    weights = [
        weigh(weight, math.prod(batch[weight.input].shape[1:]))
        if weight.unit == "elements"
        else max(weigh(weight, units(weight, row)) for row in batch[weight.input])
        for weight in manifest.weighed
    ]
    shapes = [
        "x".join(str(n) for n, declared in zip(batch[t.name].shape[1:], t.shape[1:], strict=True) if declared == -1)
        for t in manifest.shaped
    ]
    return Measure(max(weights, default=0), ",".join(shapes))


def heaviest(weight: Weight, tensor: Tensor, value: object) -> int:
    """What the heaviest row of a JSON value weighs; 0 where nobody can tell."""
    if type(value) is dict and "object" in value:
        return weigh(weight, 0)
    if weight.unit == "elements":
        return weigh(weight, math.prod(sizes_of(tensor, value)[1:]))
    rows = value if type(value) is list and len(tensor.shape) == depth(value) else [value]
    return max(weigh(weight, units(weight, row)) for row in rows)


def row_weights(manifest: Manifest, batch: Mapping[str, Any]) -> list[int]:
    """What each row of a decoded job weighs: numpy arrays, or lists of `str | bytes`."""
    weight = manifest.batching.weight
    if weight is None:
        return []
    rows = batch[weight.input]
    if weight.unit == "elements":
        return [weigh(weight, math.prod(rows.shape[1:]))] * len(rows)
    return [weigh(weight, units(weight, row)) or 1 for row in rows]


def weigh(weight: Weight, count: float) -> int:
    """The weight of a row of so many units, from 1 up. 0 units are not known: the most it may weigh, 0 without that."""
    return min(math.ceil(count / weight.per), weight.most or HEAVIEST, HEAVIEST) if count else weight.most or 0


def units(weight: Weight, row: object) -> int:
    """Characters or pixels of a row; 0 where a picture does not say."""
    if type(row) is list:
        return sum(units(weight, item) for item in row)
    if weight.unit == "pixels":
        return math.prod(headers.size(head_of(row)) or (0,))
    if type(row) is dict:
        return rawdata.decoded_length(row["b64"]) or 1
    return len(row) or 1  # type: ignore[arg-type]


def head_of(row: object) -> bytes:
    if type(row) is dict:
        return rawdata.decode(row["b64"][:HEAD])
    return row if type(row) is bytes else b""


def open_axes(tensor: Tensor, value: object) -> str:
    """A row's sizes along the axes that are declared -1; `?` behind a reference."""
    if type(value) is dict and "object" in value:
        return "?"
    sizes = sizes_of(tensor, value)
    return "x".join(str(size) for size, declared in zip(sizes[1:], tensor.shape[1:], strict=True) if declared == -1)


def sizes_of(tensor: Tensor, value: object) -> Sequence[int]:
    """The shape of a numeric value, with the axis of rows; every list of an axis is as long as the first."""
    if type(value) is dict:
        return rawdata.resolve_shape(tensor, value)
    sizes = []
    while type(value) is list:
        sizes.append(len(value))
        value = value[0]
    return sizes if len(sizes) == len(tensor.shape) else [1, *sizes]


def depth(value: object) -> int:
    axes = 0
    while type(value) is list and value:
        value = value[0]
        axes += 1
    return axes
