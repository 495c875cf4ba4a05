"""An output as Parquet: row groups that depend on the rows alone, not on how they were cut into shards."""

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from models.columns import Sink, textual
from tasks.scoring.columns_out import Column
from tasks.scoring.typing_texts import Typed
from tasks.scoring.weighing import weight_of_rows

#: Rows are weighed so many at a time.
BLOCK_ROWS = 1024
#: Where a row group ends: what is held in memory until it is written.
GROUP_ROWS, GROUP_BYTES = 128 * 1024, 32 * 2**20


def written(tables: Iterator[pa.Table], columns: Sequence[Column], typed: Typed) -> Iterator[bytes]:
    """The file in pieces; `typed` makes columns of what were JSON texts."""
    schema = pa.schema([pa.field(column.name, typed.kinds.get(column.inside, column.type)) for column in columns])
    pieces: list[bytes] = []
    # A dictionary pays where values come up again, and numbers of a model hardly do.
    dictionary = [field.name for field in schema if textual(field.type)]
    with pq.ParquetWriter(
        pa.PythonFile(Sink(pieces.append), "w"), schema, compression="zstd", compression_level=1,
        use_dictionary=dictionary or False,
    ) as writer:  # fmt: skip
        for group in groups(finished(table, columns, typed, schema) for table in tables):
            writer.write_table(group, row_group_size=GROUP_ROWS)
            yield from pieces
            pieces.clear()
    yield from pieces


def finished(table: pa.Table, columns: Sequence[Column], typed: Typed, schema: pa.Schema) -> pa.Table:
    arrays = [typed.column(column.inside, table.column(column.inside)) for column in columns]
    return pa.Table.from_arrays(arrays, schema=schema)


def groups(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    held: list[pa.Table] = []
    rows = size = 0
    for block in blocks(tables):
        held.append(block)
        rows += len(block)
        size += weight_of_rows(block)
        if rows >= GROUP_ROWS or size >= GROUP_BYTES:
            yield pa.concat_tables(held).combine_chunks()
            held, rows, size = [], 0, 0
    if held:
        yield pa.concat_tables(held).combine_chunks()


def blocks(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    held: list[pa.Table] = []
    count = 0
    for table in tables:
        at = 0
        while count + len(table) - at >= BLOCK_ROWS:
            taken = BLOCK_ROWS - count
            yield pa.concat_tables([*held, table.slice(at, taken)])
            at, held, count = at + taken, [], 0
        held.append(table.slice(at))
        count += len(table) - at
    if count:
        yield pa.concat_tables(held)
