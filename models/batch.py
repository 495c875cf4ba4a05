"""Rows of several jobs as one batch, and back: grouping, padding, joining, splitting. Pure.

A piece is some consecutive rows of one call. Equal shapes go together, sorted by weight, so that where the manifest
pads a tensor short rows are not filled up to the longest of all.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from errors import ModelError
from models.arrays import Array, Batch, Rows

Pad = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows `start` to `start + rows` of a call."""

    call: int
    start: int
    rows: int
    batch: Batch
    #: Of its heaviest row.
    weight: int = 1

    def cut(self, rows: int) -> tuple["Piece", "Piece | None"]:
        """The first `rows` rows at most, and the rest where there is one."""
        if rows >= self.rows:
            return self, None
        head = {name: values[:rows] for name, values in self.batch.items()}
        tail = {name: values[rows:] for name, values in self.batch.items()}
        return (
            Piece(self.call, self.start, rows, head, self.weight),
            Piece(self.call, self.start + rows, self.rows - rows, tail, self.weight),
        )


def pieces_of(call: int, batch: Batch, pad: Pad, weights: Sequence[int] = ()) -> list[Piece]:
    """A call's rows; one by one where they differ in weight. Raises ModelError where row counts differ.

    A padded row weighs its length, another what `weights` says, or 1.
    """
    rows = row_count(batch)
    if pad.keys() & batch.keys():
        singles = [
            {name: np.asarray(values[i])[None] if name in pad else values[i : i + 1] for name, values in batch.items()}
            for i in range(rows)
        ]
        return [Piece(call, i, 1, single, length(single, pad)) for i, single in enumerate(singles)]
    if len(weights) == rows and len(set(weights)) > 1:
        return [
            Piece(call, i, 1, {name: values[i : i + 1] for name, values in batch.items()}, weight)
            for i, weight in enumerate(weights)
        ]
    return [Piece(call, 0, rows, batch, max(weights, default=1))]


def row_count(batch: Batch) -> int:
    counts = {len(rows) for rows in batch.values()}
    if len(counts) != 1:
        rows_by_name = {name: len(rows) for name, rows in batch.items()}
        raise ModelError(f"tensors for the model disagree in rows: {rows_by_name}")
    (rows,) = counts
    if rows == 0:
        raise ModelError("the tensors for the model have no rows")
    return rows


def plan(pieces: Sequence[Piece], *, max_items: int, max_weight: int | None, pad: Pad) -> list[list[Piece]]:
    """Chunks the model runs at once: `max_items` rows and `max_weight` at most, except that one row always may.

    A chunk weighs its rows times the weight of the heaviest.
    """
    groups: dict[object, list[Piece]] = {}
    for piece in pieces:
        groups.setdefault(likeness(piece, pad), []).append(piece)
    chunks: list[list[Piece]] = []
    for group in groups.values():
        group.sort(key=lambda piece: piece.weight)
        chunks += pack(group, max_items, max_weight or sys.maxsize)
    return chunks


def pack(group: Sequence[Piece], max_items: int, max_weight: int) -> list[list[Piece]]:
    """`group`, lightest rows first, in chunks that keep to the bounds."""
    chunks: list[list[Piece]] = [[]]
    taken = 0
    for piece in group:
        room = max(1, min(max_items, max_weight // piece.weight))
        rest: Piece | None = piece
        while rest:
            if taken >= room:
                chunks.append([])
                taken = 0
            head, rest = rest.cut(room - taken)
            chunks[-1].append(head)
            taken += head.rows
    return chunks


def load(chunk: Sequence[Piece]) -> int:
    """Rows times the weight of the heaviest."""
    return sum(piece.rows for piece in chunk) * max(piece.weight for piece in chunk)


def likeness(piece: Piece, pad: Pad) -> object:
    """What rows that can share a batch have in common."""
    return tuple(
        (name, rows.dtype.str, rows.ndim if name in pad else rows.shape[1:]) if isinstance(rows, np.ndarray) else name
        for name, rows in piece.batch.items()
    )


def length(row: Batch, pad: Pad) -> int:
    """Elements in the longest padded tensor of a row; 1 where it is empty."""
    sizes: list[int] = [rows[0].size for name, rows in row.items() if name in pad and isinstance(rows, np.ndarray)]
    return max([1, *sizes])


def join(pieces: Sequence[Piece], pad: Pad) -> Batch:
    """The pieces' rows one after the other, padded where they differ in length."""
    if len(pieces) == 1:
        return pieces[0].batch
    return {name: joined([piece.batch[name] for piece in pieces], pad.get(name)) for name in pieces[0].batch}


def joined(parts: Sequence[Rows], fill: float | None) -> Rows:
    arrays = [part for part in parts if isinstance(part, np.ndarray)]
    if len(arrays) < len(parts):
        return [row for part in parts for row in part]
    if len({array.shape[1:] for array in arrays}) == 1:
        return np.concatenate(arrays)
    return padded(arrays, 0 if fill is None else fill)


def padded(arrays: Sequence[Array], fill: float) -> Array:
    sizes = np.array([array.shape[1:] for array in arrays]).max(axis=0)
    rows = sum(len(array) for array in arrays)
    whole: Array = np.full((rows, *sizes), fill, dtype=arrays[0].dtype)
    start = 0
    for array in arrays:
        corner = tuple(slice(size) for size in array.shape[1:])
        whole[(slice(start, start + len(array)), *corner)] = array
        start += len(array)
    return whole


def split(outputs: Batch, pieces: Sequence[Piece]) -> list[Batch]:
    """Each piece's share of the outputs; raises ModelError where these have another number of rows."""
    total = sum(piece.rows for piece in pieces)
    for name, rows in outputs.items():
        if not isinstance(rows, (list, tuple)) and not np.ndim(rows):
            raise ModelError(f"output {name!r}: expected {total} rows, got {type(rows).__name__}")
        if len(rows) != total:
            raise ModelError(f"output {name!r}: expected {total} rows, got {len(rows)}")
    shares = []
    start = 0
    for piece in pieces:
        shares.append({name: rows[start : start + piece.rows] for name, rows in outputs.items()})
        start += piece.rows
    return shares


def gather(parts: Sequence[tuple[int, Batch]]) -> Batch:
    """A call's outputs in the order of its rows; a list where they differ in shape."""
    if len(parts) == 1:
        return parts[0][1]
    ordered = [batch for _, batch in sorted(parts, key=lambda part: part[0])]
    return {name: rejoined([batch[name] for batch in ordered]) for name in ordered[0]}


def rejoined(parts: Sequence[Any]) -> Rows:
    if all(isinstance(part, np.ndarray) for part in parts) and len({part.shape[1:] for part in parts}) == 1:
        return np.concatenate(parts)
    return [row for part in parts for row in part]
