"""The input as shards: looked at, counted and cut into rows files, in constant memory."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pyarrow as pa

from storage.objects import Objects
from storage.scoring import Failure, Spec
from tasks.scoring.sources import Source


class Cut(NamedTuple):
    """The rows of one shard."""

    #: Its first row, counted over the whole input, and one past its last.
    start: int
    end: int
    #: A rows file's content; None where each of its rows has failed already.
    rows: pa.Table | None
    #: Rows that could not be read.
    failures: list[Failure]


def look(spec: Spec, source: Source) -> int:
    """Check format, columns, types and the first 1,000 rows against the model's inputs.

    Gives the number of rows where the format tells it beforehand, else -1. Raises InvalidInput with a Fault for each
    thing that is wrong (its pointer names the input or the row), InputChanged, ObjectsUnavailable.
    """
    raise NotImplementedError


def count(spec: Spec, source: Source, told: Callable[[int], None]) -> int:
    """All rows; `told` is called now and then with those counted so far. Raises as `look` does."""
    raise NotImplementedError


def cuts(
    spec: Spec, source: Source, *, shard_rows: int, from_row: int = 0, only: Iterator[int] | None = None
) -> Iterator[Cut]:
    """The input in shards whose boundaries are multiples of `shard_rows`, from row `from_row` on (such a multiple).

    `only`: rising row numbers; then a shard holds the next `shard_rows` of them, and its `start` and `end` are the
    first one's and one past the last one's. Raises InputChanged, ObjectsUnavailable, InvalidInput (the file turned out
    to be broken beyond single rows).
    """
    raise NotImplementedError


def put_rows(objects: Objects, key: str, rows: pa.Table) -> int:
    """Store a rows file; gives its bytes."""
    raise NotImplementedError
