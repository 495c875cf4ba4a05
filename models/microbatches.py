"""The rows of a shard as calls of the model: a pure function of the rows and of the manifest.

Rows of one shape go together, the lightest first, in micro-batches on a fixed grid: what the model sees does not
depend on who runs it, nor when, so that a shard that is run again comes out the same.
"""

import math
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from models import measuring
from models.arrays import Array, Batch, Rows
from models.manifest import Manifest, Weight
from models.running import Call

#: Positions of rows: a range where they lie side by side, so that taking them copies nothing.
Picks = range | npt.NDArray[np.intp]


def plan(manifest: Manifest, batch: Batch, rows: int) -> list[Picks]:
    """Micro-batches of at most `max_items` rows and `max_weight`, except that one row always may; every row once."""
    batching = manifest.batching
    most = batching.max_weight or sys.maxsize
    weights = weights_of(manifest, batch, rows)
    shapes = shapes_of([batch[tensor.name] for tensor in manifest.shaped])
    if not shapes and len(set(weights)) < 2:
        size = room(weights[0] if weights else 1, batching.max_items, most)
        return [range(begin, min(begin + size, rows)) for begin in range(0, rows, size)]
    # Sorting is stable: rows that are alike stay in their order.
    order = sorted(range(rows), key=lambda i: (shapes[i] if shapes else (), weights[i] if weights else 1))
    cuts = [0]
    for place, row in enumerate(order):
        size = room(weights[row] if weights else 1, batching.max_items, most)
        if place - cuts[-1] >= size or (shapes and shapes[row] != shapes[order[cuts[-1]]]):
            cuts.append(place)
    cuts = sorted({*cuts, rows})
    return [np.array(order[begin:end], dtype=np.intp) for begin, end in pairwise(cuts)]


def room(weight: int, max_items: int, max_weight: int) -> int:
    """Rows of a micro-batch whose heaviest weighs `weight`."""
    return max(1, min(max_items, max_weight // weight))


def weights_of(manifest: Manifest, batch: Batch, rows: int) -> Sequence[int]:
    """What each row weighs; empty where nothing tells."""
    found = [row_weights(weight, batch[weight.input], manifest) for weight in manifest.weighed]
    return [max(column[i] for column in found) for i in range(rows)] if found else []


def row_weights(weight: Weight, rows: Rows, manifest: Manifest) -> Sequence[int]:
    if weight.unit != "elements":
        return measuring.row_weights(manifest, {weight.input: rows})
    sizes = [math.prod(rows.shape[1:])] * len(rows) if isinstance(rows, np.ndarray) else [row.size for row in rows]
    return [measuring.weigh(weight, size) or 1 for size in sizes]


def shapes_of(columns: Sequence[Rows]) -> list[tuple[Any, ...]]:
    """The shape of each row over the columns where rows differ; empty where they do not."""
    ragged = [rows for rows in columns if not isinstance(rows, np.ndarray)]
    return list(zip(*[[row.shape for row in rows] for rows in ragged], strict=True))


def calls(batch: Batch, picks: Picks, parameters: dict[str, Any]) -> Iterator[tuple[Picks, Call]]:
    """A micro-batch as calls: one, or one for each shape where padded inputs differ in it."""
    for same in alike(batch, picks):
        yield same, Call({name: taken(rows, same) for name, rows in batch.items()}, parameters)


def alike(batch: Batch, picks: Picks) -> list[Picks]:
    ragged = [rows for rows in batch.values() if not isinstance(rows, np.ndarray) and is_array(rows[picks[0]])]
    if not ragged:
        return [picks]
    groups: dict[tuple[Any, ...], list[int]] = {}
    for pick in picks:
        groups.setdefault(tuple(rows[pick].shape for rows in ragged), []).append(int(pick))
    return [np.array(group, dtype=np.intp) for group in groups.values()]


def taken(rows: Rows, picks: Picks) -> Rows:
    """Some of the rows, which are of one shape."""
    if isinstance(rows, np.ndarray):
        return taken_of_array(rows, picks)
    some = [rows[pick] for pick in picks]
    return np.stack(some) if is_array(some[0]) else some


def taken_of_array(rows: Array, picks: Picks) -> Array:
    if not isinstance(picks, range):
        return rows[picks]
    part = rows[picks.start : picks.stop]
    # Of an Arrow file's own memory; torch asks for what can be written to, and so may a handler.
    return part if part.flags.writeable else part.copy()


def is_array(row: object) -> bool:
    return isinstance(row, np.ndarray)


def halves(picks: Picks) -> list[Picks]:
    """Two parts of more than one row."""
    half = len(picks) // 2
    return [picks[:half], picks[half:]]
