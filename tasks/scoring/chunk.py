"""Some consecutive rows of an input, as a reader gives them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from models.columns import CUSTOM_ID, IN, JSON, KEEP, ROW
from storage.scoring import Failure
from tasks.scoring.plan import Plan

#: The lowest row that is still wanted: what lies before it is counted and not made.
At = Callable[[], int]


class Chunk(NamedTuple):
    #: The first row, and one past the last.
    start: int
    end: int
    #: In the form of a rows file, without those that failed; None where none is wanted.
    rows: pa.Table | None
    failures: list[Failure]


@dataclass(frozen=True, kw_only=True)
class Made:
    """The columns of some rows."""

    #: Their numbers.
    rows: Sequence[int]
    #: By their names in the input.
    columns: Mapping[str, pa.Array]
    #: The rows' ids, where they have some.
    custom_ids: pa.Array | None
    #: By the model's names.
    inputs: Mapping[str, pa.Array]
    #: Inputs that are JSON texts, and whether the columns that are kept are.
    texts: frozenset[str] = frozenset()
    kept_texts: bool = False


def table(plan: Plan, made: Made) -> pa.Table:
    """Columns in the form of a rows file."""
    fields, arrays = [pa.field(ROW, pa.int64())], [pa.array(np.asarray(made.rows, dtype=np.int64))]

    def add(name: str, array: pa.Array, json: bool) -> None:
        fields.append(pa.field(name, array.type, metadata=JSON if json else None))
        arrays.append(array)

    if made.custom_ids is not None:
        add(CUSTOM_ID, made.custom_ids, False)
    for name in plan.keep:
        add(KEEP + name, made.columns[name], made.kept_texts)
    for name, array in made.inputs.items():
        add(IN + name, array, name in made.texts)
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def failure(row: int, detail: str, custom_id: str | None = None) -> Failure:
    """A row that could not be read."""
    return Failure(row, custom_id, "invalid_input", detail)


def between(rows: pa.Table | None, start: int, end: int) -> pa.Table | None:
    """The rows whose numbers are from `start` on and below `end`."""
    if rows is None:
        return None
    first, last = np.searchsorted(rows.column(ROW).to_numpy(), (start, end))
    return rows.slice(first, last - first)
