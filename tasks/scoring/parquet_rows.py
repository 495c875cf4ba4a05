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

#: Bytes of rows at once, as the file counts them, and the most rows: a value that comes up again counts once there.
CHUNK_BYTES = 4 * 2**20
CHUNK_ROWS = 4096
#: Bytes that are read ahead, over all columns together; of one column no fewer than LEAST_AHEAD.
AHEAD_BYTES = 8 * 2**20
LEAST_AHEAD, MOST_AHEAD = 64 * 1024, 2**20
#: What stands at both ends (parquet-format, "File Format").
MAGIC = b"PAR1"


def names(source: Source) -> list[str]:
    found = list(opened(source, source.parts[0]).schema_arrow.names)
    if twice := [name for name in found if found.count(name) > 1]:
        raise InvalidInput(f"{source.name(source.parts[0])} has the column {twice[0]!r} twice")
    return found


def total(plan: Plan, source: Source) -> int:
    """All rows; raises InvalidInput where a part is no Parquet, or has other columns than the first."""
    rows, first = 0, None
    for part in source.parts:
        file = opened(source, part)
        first = agreed(plan, source, part, file.schema_arrow, first)
        rows += file.metadata.num_rows
    return rows


def agreed(plan: Plan, source: Source, part: Part, schema: pa.Schema, first: pa.Schema | None) -> pa.Schema:
    """The schema of the first part; raises InvalidInput where this part's differs in what is read."""
    where, origin = source.name(part), source.name(source.parts[0])
    for name in plan.columns:
        if len(schema.get_all_field_indices(name)) != 1:
            raise InvalidInput(f"{where} has no column {name!r}, which {origin} has")
        if first is not None and (now := kind(schema.field(name))) != (was := kind(first.field(name))):
            raise InvalidInput(f"{where} has {now} in column {name!r} where {origin} has {was}: write all parts alike")
    return schema if first is None else first


def opened(source: Source, part: Part, columns: int = 1) -> Any:
    """The file; raises InvalidInput where it is none."""
    if part.bytes < 12 or source.read(part, 0, 4) != MAGIC or source.read(part, part.bytes - 4, 4) != MAGIC:
        raise InvalidInput(f"{source.name(part)} is no Parquet file: it does not begin and end with PAR1")
    ahead = min(max(AHEAD_BYTES // max(columns, 1), LEAST_AHEAD), MOST_AHEAD)
    with broken_as(f"{source.name(part)} cannot be read as Parquet"):
        return pq.ParquetFile(pa.PythonFile(Ranged(source, part), "r"), buffer_size=ahead, pre_buffer=False)


def chunks(plan: Plan, source: Source, at: At) -> Iterator[Chunk]:
    """The rows of all parts; raises InvalidInput where a file is broken, or has other columns than the first."""
    start, first = 0, None
    for part in source.parts:
        file = opened(source, part, len(plan.columns))
        first = agreed(plan, source, part, file.schema_arrow, first)
        with broken_as(f"{source.name(part)} cannot be read as Parquet"):
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                if start + rows <= at():
                    start += rows
                    yield Chunk(start - rows, start, None, [])
                    continue
                for batch in batches(file, group, plan):
                    yield made(plan, source, part, batch, start, at)
                    start += len(batch)


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


def kind(field: pa.Field) -> pa.DataType:
    """The type that `plain` gives."""
    found = field.type.storage_type if isinstance(field.type, pa.BaseExtensionType) else field.type
    return found.value_type if types.is_dictionary(found) else found
