"""Rows of Parquet files: a few pages in memory at once, however large a row group is."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import types

from errors import InvalidInput
from storage.scoring import Part
from tasks.scoring.chunk import At, Chunk, Made, table
from tasks.scoring.plan import Plan
from tasks.scoring.sources import Ranged, Source, broken_as
from tasks.scoring.stacking import inputs

#: Bytes of decoded rows at once, and the most rows.
CHUNK_BYTES = 4 * 2**20
CHUNK_ROWS = 8192
#: Bytes that are read ahead, over all columns together; of one column no fewer than LEAST_AHEAD.
AHEAD_BYTES = 8 * 2**20
LEAST_AHEAD, MOST_AHEAD = 64 * 1024, 2**20
#: Largest footer and smallest file: `PAR1` stands at both ends (parquet-format, "File Format").
MAGIC = b"PAR1"


def names(source: Source) -> list[str]:
    return list(opened(source, source.parts[0]).schema_arrow.names)


def total(source: Source) -> int:
    return sum(opened(source, part).metadata.num_rows for part in source.parts)


def opened(source: Source, part: Part, columns: int = 1) -> Any:
    """The file; raises InvalidInput where it is none."""
    if part.bytes < 12 or source.read(part, 0, 4) != MAGIC or source.read(part, part.bytes - 4, 4) != MAGIC:
        raise InvalidInput(f"{source.name(part)} is no Parquet file: it does not begin and end with PAR1")
    ahead = min(max(AHEAD_BYTES // max(columns, 1), LEAST_AHEAD), MOST_AHEAD)
    with broken_as(f"{source.name(part)} cannot be read as Parquet"):
        return pq.ParquetFile(pa.PythonFile(Ranged(source, part), "r"), buffer_size=ahead, pre_buffer=False)


def chunks(plan: Plan, source: Source, at: At) -> Iterator[Chunk]:
    """The rows of all parts; raises InvalidInput where a file is broken, or has other columns than the first."""
    start, schema = 0, None
    for part in source.parts:
        file = opened(source, part, len(plan.columns))
        if missing := [name for name in plan.columns if name not in file.schema_arrow.names]:
            raise InvalidInput(
                f"{source.name(part)} has no column {missing[0]!r}, which {source.name(source.parts[0])} has"
            )
        with broken_as(f"{source.name(part)} cannot be read as Parquet"):
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                if start + rows <= at():
                    start += rows
                    yield Chunk(start - rows, start, None, [])
                    continue
                for batch in batches(file, group, plan):
                    chunk = made(plan, source, part, batch, start, at)
                    if chunk.rows is not None:
                        if schema is not None and chunk.rows.schema != schema:
                            raise InvalidInput(differing(source, part, schema, chunk.rows.schema))
                        schema = chunk.rows.schema
                    start = chunk.end
                    yield chunk


def batches(file: Any, group: int, plan: Plan) -> Iterator[pa.RecordBatch]:
    metadata = file.metadata.row_group(group)
    each = metadata.total_byte_size / max(metadata.num_rows, 1)
    size = int(min(max(CHUNK_BYTES / max(each, 1), 1), CHUNK_ROWS))
    # Threads gain nothing where the models' processes keep the cores busy, and each holds pages of its own.
    yield from file.iter_batches(size, row_groups=[group], columns=plan.columns, use_threads=False)


def made(plan: Plan, source: Source, part: Part, batch: pa.RecordBatch, start: int, at: At) -> Chunk:
    end = start + len(batch)
    if end <= at():
        return Chunk(start, end, None, [])
    columns = {name: plain(batch.column(name)) for name in plan.columns}
    try:
        ids = columns[plan.custom_id].cast(pa.string()) if plan.custom_id else None
        rows = Made(rows=range(start, end), columns=columns, custom_ids=ids, inputs=inputs(plan, columns))
        return Chunk(start, end, table(plan, rows), [])
    except (ValueError, pa.ArrowNotImplementedError) as error:
        raise InvalidInput(f"{source.place(part)}{error}") from error


def plain(array: pa.Array) -> pa.Array:
    """A column in a type that all its chunks have: categories as what they stand for, extensions as they are stored."""
    if isinstance(array.type, pa.BaseExtensionType):
        array = array.storage
    return array.dictionary_decode() if types.is_dictionary(array.type) else array


def differing(source: Source, part: Part, first: pa.Schema, other: pa.Schema) -> str:
    name, was, now = next(
        (a.name, a.type, b.type) for a, b in zip(first, other, strict=True) if a.type != b.type or a.name != b.name
    )
    return (
        f"{source.name(part)} has {now} in column {name.partition(':')[2] or name!r} where "
        f"{source.name(source.parts[0])} has {was}: write all parts with the same types"
    )
