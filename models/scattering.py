"""Outputs of micro-batches, put back into the order of the rows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from models.arrays import DTYPES, Array, Batch, Rows
from models.manifest import Tensor
from models.microbatches import Picks


class Scatter:
    """Collects the outputs of so many rows; numbers of one shape in one array, anything else row by row."""

    def __init__(self, tensors: Sequence[Tensor], rows: int) -> None:
        self._columns: dict[str, Array | list[Any]] = {tensor.name: empty(tensor, rows) for tensor in tensors}
        self._done = np.zeros(rows, dtype=bool)

    def put(self, picks: Picks, made: Batch) -> None:
        """Outputs of the rows `picks`, in that order."""
        where = slice(picks.start, picks.stop) if isinstance(picks, range) else picks
        for name, column in self._columns.items():
            if isinstance(column, list):
                for pick, row in zip(picks, made[name], strict=True):
                    column[pick] = row
            else:
                column[where] = made[name]
        self._done[where] = True

    @property
    def kept(self) -> npt.NDArray[np.intp]:
        """The rows that have outputs, rising."""
        return np.flatnonzero(self._done)

    def outputs(self) -> Batch:
        """Outputs of the rows `kept`."""
        if self._done.all():
            return dict(self._columns)
        return {name: chosen(column, self._done) for name, column in self._columns.items()}


def empty(tensor: Tensor, rows: int) -> Array | list[Any]:
    if tensor.datatype in DTYPES and -1 not in tensor.shape[1:]:
        return np.empty((rows, *tensor.shape[1:]), dtype=DTYPES[tensor.datatype])
    return [None] * rows


def chosen(column: Rows, done: Array) -> Rows:
    return (
        column[done] if isinstance(column, np.ndarray) else [row for row, had in zip(column, done, strict=True) if had]
    )
