"""The input as shards: looked at, counted and cut into rows files, in constant memory."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from models import columns
from storage.objects import Objects
from storage.scoring import Failure, Spec
from tasks.scoring.chunk import Chunk, between
from tasks.scoring.formats import FORMATS
from tasks.scoring.looking import look
from tasks.scoring.plan import plan
from tasks.scoring.sources import Source

__all__ = ["Cut", "count", "cuts", "look", "put_rows"]

#: Beyond any row.
NEVER = 2**62


class Cut(NamedTuple):
    """The rows of one shard."""

    #: Its first row, counted over the whole input, and one past its last.
    start: int
    end: int
    #: A rows file's content; None where each of its rows has failed already.
    rows: pa.Table | None
    #: Rows that could not be read.
    failures: list[Failure]


def count(spec: Spec, source: Source, told: Callable[[int], None]) -> int:
    """All rows; `told` is called now and then with those counted so far. Raises as `look` does."""
    form = FORMATS[spec.format]
    rows = 0
    for chunk in form.chunks(plan(spec, form.names(source)), source, lambda: NEVER):
        rows = chunk.end
        told(rows)
    return rows


def cuts(
    spec: Spec, source: Source, *, shard_rows: int, from_row: int = 0, only: Iterator[int] | None = None
) -> Iterator[Cut]:
    """The input in shards whose boundaries are multiples of `shard_rows`, from row `from_row` on (such a multiple).

    `only`: rising row numbers; then a shard holds the next `shard_rows` of them, and its `start` and `end` are the
    first one's and one past the last one's. Raises InputChanged, ObjectsUnavailable, InvalidInput (the file turned out
    to be broken beyond single rows).
    """
    form = FORMATS[spec.format]
    made = plan(spec, form.names(source))
    if only is None:
        yield from consecutive(form.chunks(made, source, lambda: from_row), shard_rows, from_row)
    else:
        wanted = Wanted(only)
        yield from chosen(form.chunks(made, source, wanted.first), shard_rows, wanted)


def consecutive(chunks: Iterator[Chunk], shard_rows: int, from_row: int) -> Iterator[Cut]:
    start = from_row
    held: list[Chunk] = []
    for chunk in chunks:
        rest: Chunk | None = chunk
        while rest is not None and rest.end > start:
            end = start + shard_rows
            head, rest = split(rest, max(start, rest.start), end)
            held.append(head)
            if head.end == end:
                yield joined(start, end, held)
                start, held = end, []
    if held:
        yield joined(start, held[-1].end, held)


def split(chunk: Chunk, start: int, end: int) -> tuple[Chunk, Chunk | None]:
    """A chunk's rows from `start` to `end`, and those after."""
    last = min(end, chunk.end)
    inside = Chunk(start, last, between(chunk.rows, start, last), within(chunk.failures, start, last))
    return inside, None if last == chunk.end else chunk._replace(start=last)


def within(failures: list[Failure], start: int, end: int) -> list[Failure]:
    return [failure for failure in failures if start <= failure.row < end]


def joined(start: int, end: int, held: list[Chunk]) -> Cut:
    tables = [chunk.rows for chunk in held if chunk.rows is not None and len(chunk.rows)]
    failures = [failure for chunk in held for failure in chunk.failures]
    return Cut(start, end, pa.concat_tables(tables) if tables else None, failures)


class Wanted:
    """Rising row numbers, as far as the reader has come."""

    def __init__(self, numbers: Iterator[int]) -> None:
        self._numbers = numbers
        self._next = next(numbers, NEVER)

    def first(self) -> int:
        return self._next

    def before(self, end: int) -> list[int]:
        """The next numbers below `end`."""
        taken = []
        while self._next < end:
            taken.append(self._next)
            self._next = next(self._numbers, NEVER)
        return taken


def chosen(chunks: Iterator[Chunk], shard_rows: int, wanted: Wanted) -> Iterator[Cut]:
    held: list[Chunk] = []
    count = 0
    for chunk in chunks:
        numbers = wanted.before(chunk.end)
        while numbers:
            now, numbers = numbers[: shard_rows - count], numbers[shard_rows - count :]
            held.append(picked(chunk, now))
            count += len(now)
            if count == shard_rows:
                yield joined(held[0].start, held[-1].end, held)
                held, count = [], 0
        if wanted.first() == NEVER:
            break
    if held:
        yield joined(held[0].start, held[-1].end, held)


def picked(chunk: Chunk, numbers: list[int]) -> Chunk:
    rows = chunk.rows
    if rows is not None:
        rows = rows.filter(pa.array(np.isin(rows.column(columns.ROW).to_numpy(), numbers)))
    picks = set(numbers)
    failures = [failure for failure in chunk.failures if failure.row in picks]
    return Chunk(numbers[0], numbers[-1] + 1, rows, failures)


def put_rows(objects: Objects, key: str, rows: pa.Table) -> int:
    """Store a rows file; gives its bytes."""
    pieces: list[bytes] = []
    columns.write_file([rows.combine_chunks()], pieces.append)
    return objects.put(key, pieces, digest=False).bytes
