"""The formats of an input, and what reads them."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from tasks.scoring import csv_rows, jsonl_rows, parquet_rows
from tasks.scoring.chunk import At, Chunk
from tasks.scoring.plan import Plan
from tasks.scoring.sources import Source


class Format(NamedTuple):
    #: The columns of the first part.
    names: Callable[[Source], list[str]]
    #: All rows, or -1 where only reading tells; refuses parts that differ.
    total: Callable[[Plan, Source], int]
    chunks: Callable[[Plan, Source, At], Iterator[Chunk]]


FORMATS = {
    "parquet": Format(parquet_rows.names, parquet_rows.total, parquet_rows.chunks),
    "jsonl": Format(jsonl_rows.names, jsonl_rows.total, jsonl_rows.chunks),
    "csv": Format(csv_rows.names, csv_rows.total, csv_rows.chunks),
}
