"""The input as shards: looked at, counted and cut into rows files, in constant memory."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from models import columns
from storage.objects import Objects
from storage.scoring import Failure, Spec
from tasks.scoring import pacing
from tasks.scoring.chunk import Chunk, between
from tasks.scoring.formats import FORMATS
from tasks.scoring.looking import look
from tasks.scoring.plan import plan
from tasks.scoring.sources import Source
from tasks.scoring.weighing import weight_of_rows

__all__ = ["Cut", "count", "cuts", "look", "put_rows"]

#: Beyond any row.
NEVER = 2**62
#: Rows of the shard that is begun next.
Size = Callable[[], int]


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
    spec: Spec, source: Source, *, shard_rows: int | Size, from_row: int = 0, only: Iterator[int] | None = None
) -> Iterator[Cut]:
    """The input in shards of `shard_rows` rows (a multiple of the model's batches), from row `from_row` on.

    A shard whose rows come to `pacing.MOST_BYTES` ends with that batch. `only`: rising row numbers; then a shard holds
    the next of them, and its `start` and `end` are the first one's and one past the last one's. Raises InputChanged,
    ObjectsUnavailable, InvalidInput (the file turned out to be broken beyond single rows).
    """
    form = FORMATS[spec.format]
    made = plan(spec, form.names(source))
    size: Size = partial(int, shard_rows) if isinstance(shard_rows, int) else shard_rows
    if only is None:
        yield from consecutive(form.chunks(made, source, lambda: from_row), size, spec.max_items, from_row)
    else:
        wanted = Wanted(only)
        yield from chosen(form.chunks(made, source, wanted.first), size, spec.max_items, wanted)


def consecutive(chunks: Iterator[Chunk], size: Size, max_items: int, from_row: int) -> Iterator[Cut]:
    start = from_row
    end = start + size()
    held: list[Chunk] = []
    room = Room()
    for chunk in chunks:
        rest: Chunk | None = chunk
        while rest is not None and rest.end > start:
            begin = max(start, rest.start)
            head, after = split(rest, begin, end)
            batches = range(begin + max_items - (begin - start) % max_items, head.end + max_items, max_items)
            full = room.fill(head.rows, batches)
            if full is not None:
                end = min(end, batches[full])
                head, after = split(rest, begin, end)
            held.append(head)
            rest = after
            if head.end == end:
                yield joined(start, end, held)
                held, room, start = [], Room(), end
                end = start + size()
    if held:
        yield joined(start, held[-1].end, held)


class Room:
    """What fits into a shard yet, in bytes."""

    def __init__(self) -> None:
        self._left = pacing.MOST_BYTES

    def fill(self, rows: pa.Table | None, ends: Sequence[int]) -> int | None:
        """Take further rows; which of `ends` (row numbers one past, rising, the last beyond all) it is full at.

        None where it is not full, or was so before.
        """
        if self._left <= 0 or rows is None:
            return None
        left, weight = self._left, weight_of_rows(rows)
        self._left -= weight
        if weight < left:
            return None
        return bisect_left(ends, left, key=lambda end: weight_of_rows(between(rows, 0, end)))


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


def chosen(chunks: Iterator[Chunk], size: Size, max_items: int, wanted: Wanted) -> Iterator[Cut]:
    held: list[Chunk] = []
    count, most = 0, size()
    room = Room()
    for chunk in chunks:
        numbers = wanted.before(chunk.end)
        while numbers:
            now = numbers[: most - count]
            part = picked(chunk, now)
            batches = range(max_items - count % max_items, len(now) + max_items, max_items)
            full = room.fill(part.rows, [now[min(many, len(now)) - 1] + 1 for many in batches])
            if full is not None:
                most = min(most, count + batches[full])
                now = numbers[: most - count]
                part = picked(chunk, now)
            numbers = numbers[len(now) :]
            held.append(part)
            count += len(now)
            if count == most:
                yield joined(held[0].start, held[-1].end, held)
                held, room, count = [], Room(), 0
                most = size()
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
