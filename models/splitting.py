"""A step's rows: what of the values becomes calls of its model, and how the outputs are merged again. Pure.

A value is a column: its rows, as an array or a list; a row that is absent is None. A unit is what a step's model
sees as a row: a row of the job, or an item of one (`for_each`). Outputs come back in the order of the units.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from errors import ModelError
from models.arrays import DTYPES, Batch, Rows
from models.composing import Node, Wire
from models.graph import Source
from models.manifest import Tensor

#: Entries a step makes of a job's items at most: few rows each, so that they share batches with other jobs' items.
MOST_CALLS = 256

Values = Mapping[Source, Rows]


class Call(NamedTuple):
    """Some of a step's units, for the model to run together with whatever else there is."""

    units: list[int]
    tensors: Batch


class Split(NamedTuple):
    """What a step makes of the values."""

    #: Of each row, how many items; None: a row is a unit itself.
    items: list[int] | None
    #: Units in all, with those that are not run.
    units: int
    calls: list[Call]


def split(node: Node, values: Values, rows: int) -> Split:
    """The calls of a step; none where there are no items, or where no condition holds. Raises ModelError."""
    items = count_items(node, values[node.for_each], rows) if node.for_each else None
    if items is None and (whole := whole_rows(node, values)):
        return Split(None, rows, [Call(list(range(rows)), whole)])
    places = [(row, item) for row in range(rows) for item in ((0,) if items is None else range(items[row]))]
    columns = {name: column(node, name, wire, values, places) for name, wire in node.inputs.items()}
    chosen = [
        unit
        for unit in range(len(places))
        if all(given[unit] is not None for given in columns.values()) and holds(node, values, places[unit])
    ]
    size = -(-len(chosen) // MOST_CALLS) if items is not None else len(chosen)
    groups = [chosen[start : start + size] for start in range(0, len(chosen), max(1, size))]
    return Split(items, len(places), [call for group in groups for call in calls(node, columns, group)])


def whole_rows(node: Node, values: Values) -> Batch | None:
    """All rows as they are, where nothing has to be looked at: the common case."""
    if node.when or node.unless or any(len(wire.sources) > 1 for wire in node.inputs.values()):
        return None
    found: Batch = {}
    for tensor in node.model.inputs:
        given = values[node.inputs[tensor.name].sources[0]]
        plain = isinstance(given, np.ndarray) if tensor.datatype in DTYPES else isinstance(given, list)
        if not plain or (isinstance(given, list) and any(row is None for row in given)):
            return None
        found[tensor.name] = given
    return found


def count_items(node: Node, given: Rows, rows: int) -> list[int]:
    counts = []
    for row in range(rows):
        items = given[row]
        if items is not None and not isinstance(items, (list, tuple, np.ndarray)):
            raise ModelError(f"row {row} of {node.for_each} is {type(items).__name__}, and no list of items")
        counts.append(0 if items is None else len(items))
    return counts


def column(node: Node, name: str, wire: Wire, values: Values, places: Sequence[tuple[int, int]]) -> list[Any]:
    """One input's value for each unit; None where all its sources are absent."""
    return [first(node, name, wire, values, place) for place in places]


def first(node: Node, name: str, wire: Wire, values: Values, place: tuple[int, int]) -> Any:
    row, item = place
    for source in wire.sources:
        value = values[source][row]
        if wire.split and value is not None:
            if not isinstance(value, (list, tuple, np.ndarray)) or item >= len(value):
                raise ModelError(f"{name}: row {row} of {source} has no item {item}, and that of {node.for_each} has")
            value = value[item]
        if value is not None:
            return value
    return None


def holds(node: Node, values: Values, place: tuple[int, int]) -> bool:
    """Whether a unit is to be run; an absent condition holds not, in either sense."""
    when = first(node, "when", node.when, values, place) if node.when else True
    unless = first(node, "unless", node.unless, values, place) if node.unless else False
    return bool(when) and unless is not None and not unless


def calls(node: Node, columns: Mapping[str, list[Any]], units: list[int]) -> list[Call]:
    """One call for the units, or one for each where their shapes differ."""
    tensors: Batch = {}
    for tensor in node.model.inputs:
        rows = [settled(tensor, columns[tensor.name][unit]) for unit in units]
        if tensor.datatype not in DTYPES:
            tensors[tensor.name] = rows
        elif len({row.shape for row in rows}) == 1:
            tensors[tensor.name] = np.stack(rows)
        else:
            return [call for unit in units for call in calls(node, columns, [unit])]
    return [Call(units, tensors)]


def settled(tensor: Tensor, value: Any) -> Any:
    """A unit's value as a row of the tensor; raises ModelError where it does not fit (it may come from JSON)."""
    if tensor.datatype not in DTYPES:
        return value.tolist() if isinstance(value, np.ndarray) else value
    if isinstance(value, list) and not value and tensor.shape[1:2] == (-1,):
        # Nothing in it tells its further axes.
        return np.empty((0, *(max(0, size) for size in tensor.shape[2:])), DTYPES[tensor.datatype])
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ModelError(f"{tensor.name}: {tensor.datatype} is taken, and ragged lists came") from error
    if array.dtype.kind not in "biuf":
        raise ModelError(f"{tensor.name}: {tensor.datatype} is taken, and {array.dtype} came")
    row = array.astype(DTYPES[tensor.datatype], copy=False)
    if row.dtype.kind != "f" and not np.array_equal(row, array):
        raise ModelError(f"{tensor.name}: {tensor.datatype} is taken, and other numbers came")
    expected = tensor.shape[1:]
    if row.ndim != len(expected) or any(a not in (-1, b) for a, b in zip(expected, row.shape, strict=True)):
        raise ModelError(f"{tensor.name}: shape {list(expected)} is taken, and {list(row.shape)} came")
    return row


def merge(node: Node, made: Split, outputs: Sequence[Batch]) -> dict[Source, Rows]:
    """The step's outputs as columns: `outputs` are those of its calls, in order."""
    return {
        Source(node.step.name, tensor.name): merged(tensor, made, outputs, node.step.otherwise)
        for tensor in node.model.outputs
    }


def merged(tensor: Tensor, made: Split, outputs: Sequence[Batch], otherwise: Mapping[str, Any]) -> Rows:
    if made.items is None and len(made.calls) == 1 and len(made.calls[0].units) == made.units:
        return outputs[0][tensor.name]
    fill = otherwise.get(tensor.name)
    if fill is not None and tensor.datatype in DTYPES:
        fill = np.asarray(fill, DTYPES[tensor.datatype])
    units: list[Any] = [fill] * made.units
    for call, batch in zip(made.calls, outputs, strict=True):
        for place, unit in enumerate(call.units):
            units[unit] = batch[tensor.name][place]
    if made.items is None:
        return together(tensor, units)
    ends = np.cumsum(made.items).tolist()
    return [together(tensor, units[end - count : end]) for count, end in zip(made.items, ends, strict=True)]


def together(tensor: Tensor, rows: list[Any]) -> Rows:
    """Rows as one array where that can be; an empty one has the rank of the others."""
    if tensor.datatype not in DTYPES:
        return rows
    if not rows:
        return np.empty((0, *(max(0, size) for size in tensor.shape[1:])), DTYPES[tensor.datatype])
    if any(row is None for row in rows) or len({row.shape for row in rows}) > 1:
        return rows
    return np.stack(rows)
