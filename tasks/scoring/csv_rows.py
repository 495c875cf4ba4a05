"""Rows of CSV files with a header (RFC 4180): numbers are converted here, lists are JSON texts.

Blocks without quotes, whose lines are rows for sure, are read at once; others row by row, as is a block in which a row
does not fit.
"""

import csv
import sys
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
from pyarrow import csv as arrow_csv

from errors import InvalidInput
from storage.scoring import Part
from tasks.scoring.chunk import At, Chunk, Made, failure, table
from tasks.scoring.csv_records import Record, Records
from tasks.scoring.csv_values import Cells
from tasks.scoring.lines import blocks
from tasks.scoring.plan import Plan
from tasks.scoring.sources import Source


def names(source: Source) -> list[str]:
    return header(source, source.parts[0], Records(blocks(source.text(source.parts[0]))))


def header(source: Source, part: Part, records: Records) -> list[str]:
    """The first record; raises InvalidInput for what can be none."""
    where = source.name(part)
    try:
        found = records.first()
    except csv.Error as error:
        raise InvalidInput(f"{where} is no CSV file: {error}") from error
    if not found:
        raise InvalidInput(f"{where} is empty: a CSV file begins with the names of its columns")
    if twice := [name for name in found if found.count(name) > 1]:
        raise InvalidInput(f"{where} has the column {twice[0]!r} twice")
    if len(found) == 1 and (other := next((mark for mark in ";\t|" if mark in found[0]), "")):
        raise InvalidInput(f"{where} has one column, {found[0][:80]!r}: write it with commas in place of {other!r}")
    return found


def total(plan: Plan, source: Source) -> int:
    """Not known before all is read; raises InvalidInput where a part has other columns than the first."""
    for part in source.parts:
        agreed(plan, source, part, header(source, part, Records(blocks(source.text(part)))))
    return -1


def agreed(plan: Plan, source: Source, part: Part, found: list[str]) -> list[str]:
    if missing := [name for name in plan.columns if name not in found]:
        raise InvalidInput(
            f"{source.name(part)} has no column {missing[0]!r}, which {source.name(source.parts[0])} has"
        )
    return found


def chunks(plan: Plan, source: Source, at: At) -> Iterator[Chunk]:
    """The rows of all parts; raises InvalidInput where a part has other columns than the first."""
    start = 0
    cells = Cells(plan)
    for part in source.parts:
        records = Records(blocks(source.text(part)))
        found = agreed(plan, source, part, header(source, part, records))
        while not records.ended:
            chunk = at_once(cells, records, found, start, at) or singly(
                cells, records, found, start, source.place(part)
            )
            start = chunk.end
            yield chunk


def at_once(cells: Cells, records: Records, header: list[str], start: int, at: At) -> Chunk | None:
    """The rest of a block without quotes; None where it has some, or a row that does not fit."""
    block = records.plain()
    if block is None:
        return None
    end = start + sum(1 for line in block.split(b"\n") if line not in (b"", b"\r"))
    if end <= at():
        records.drop()
        return Chunk(start, end, None, [])
    try:
        read = arrow_csv.read_csv(
            pa.BufferReader(block),
            arrow_csv.ReadOptions(use_threads=False, column_names=header, block_size=len(block) + 1),
            arrow_csv.ParseOptions(quote_char=False),
            arrow_csv.ConvertOptions(
                include_columns=cells.plan.columns,
                column_types=cells.types,
                null_values=[""],
                strings_can_be_null=False,
            ),
        )
        columns = {name: read.column(name).combine_chunks() for name in cells.plan.columns}
        inputs = cells.inputs(columns)
    except (pa.ArrowInvalid, ValueError):
        return None
    if len(read) != end - start:
        return None
    records.drop()
    return Chunk(start, end, made(cells, range(start, end), columns, inputs), [])


def made(
    cells: Cells, rows: Sequence[int], columns: Mapping[str, pa.Array], inputs: Mapping[str, pa.Array]
) -> pa.Table:
    ids = cells.custom_ids(columns)
    return table(cells.plan, Made(rows=rows, columns=columns, custom_ids=ids, inputs=inputs, texts=cells.texts))


def singly(cells: Cells, records: Records, header: list[str], start: int, place: str) -> Chunk:
    """The records up to the end of a block, one by one."""
    found = list(records.block())
    id_at = header.index(cells.plan.custom_id) if cells.plan.custom_id else sys.maxsize
    reasons = {}
    for position, record in enumerate(found):
        if record.reason or len(record.values) != len(header):
            reasons[position] = record.reason or f"has {len(record.values)} values where {len(header)} are expected"
    good = [position for position in range(len(found)) if position not in reasons]
    columns = columns_of(cells, header, [found[position].values for position in good])
    try:
        inputs = cells.inputs(columns)
    except pa.ArrowInvalid:
        reasons |= {good[position]: reason for position, reason in cells.complaints(columns)}
        good = [position for position in good if position not in reasons]
        columns = columns_of(cells, header, [found[position].values for position in good])
        inputs = cells.inputs(columns)
    failures = [
        failure(start + position, f"{place}line {found[position].line} {reason}", id_of(found[position], id_at))
        for position, reason in sorted(reasons.items())
    ]
    rows = made(cells, [start + position for position in good], columns, inputs)
    return Chunk(start, start + len(found), rows, failures)


def columns_of(cells: Cells, header: list[str], records: list[list[str]]) -> dict[str, pa.Array]:
    places = {name: header.index(name) for name in cells.plan.columns}
    return {name: pa.array([values[at] for values in records], pa.string()) for name, at in places.items()}


def id_of(record: Record, at: int) -> str | None:
    return record.values[at] or None if at < len(record.values) else None
