"""What shards wrote, read back in row order: one shard of each round in memory at a time."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa

from models import columns
from storage.objects import Objects

#: Rows whose texts are in memory at once.
SMALL_ROWS = 2048


def tables(objects: Objects, rounds: Sequence[Iterable[str]]) -> Iterator[pa.Table]:
    """The rows of all rounds, in tables of one row or more."""
    streams = [filled(objects, keys) for keys in rounds]
    return streams[0] if len(streams) == 1 else by_row(streams)


def schema(objects: Objects, rounds: Sequence[Iterable[str]]) -> pa.Schema | None:
    """What all shards' files have; None where there is no shard."""
    key = next((key for keys in rounds for key in keys), None)
    return None if key is None else columns.read_file(objects.read(key)).schema


def filled(objects: Objects, keys: Iterable[str]) -> Iterator[pa.Table]:
    for key in keys:
        table = columns.read_file(objects.read(key))
        if len(table):
            yield table


def by_row(streams: Sequence[Iterator[pa.Table]]) -> Iterator[pa.Table]:
    """Several rising streams, no row in two of them, as one."""
    heads = [(head, stream) for stream in streams if (head := next(stream, None)) is not None]
    while heads:
        end = 1 + min(last(head) for head, _ in heads)
        parts = [part for head, _ in heads if len(part := cut(head, 0, end))]
        yield pa.concat_tables(parts).sort_by(columns.ROW) if len(parts) > 1 else parts[0]
        rests = [(cut(head, end, 2**62), stream) for head, stream in heads]
        heads = [(rest, stream) for found, stream in rests if (rest := found if len(found) else next(stream, None))]


def small(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in small tables, for what makes Python objects of them."""
    for table in tables:
        for start in range(0, len(table), SMALL_ROWS):
            yield table.slice(start, SMALL_ROWS)


def cut(table: pa.Table, start: int, end: int) -> pa.Table:
    """The rows whose numbers are from `start` on and below `end`."""
    first, last = np.searchsorted(table.column(columns.ROW).to_numpy(), (start, end))
    return table.slice(first, last - first)


def last(table: pa.Table) -> int:
    return int(table.column(columns.ROW)[-1].as_py())
