"""Whether an input can be scored at all, before anything runs: its columns, their types, its first rows."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from errors import Fault, InvalidInput, NotFound
from models import columns
from storage.scoring import Failure, Spec
from tasks.scoring.chunk import between
from tasks.scoring.formats import FORMATS, Format
from tasks.scoring.plan import Plan, plan
from tasks.scoring.sources import Source

#: Rows that are held against the model's inputs beforehand.
LOOKED_AT = 1000
#: Bad rows that a refusal shows.
SHOWN = 8


def look(spec: Spec, source: Source) -> int:
    """Check format, columns, types and the first 1,000 rows against the model's inputs.

    Gives the number of rows where the format tells it beforehand, else -1. Raises InvalidInput with a Fault for each
    thing that is wrong (its pointer names the input or the row), InputChanged, ObjectsUnavailable.
    """
    form = FORMATS[spec.format]
    check_content(spec, source)
    made = plan(spec, form.names(source))
    total = form.total(made, source)
    seen, bad = first_rows(made, form, source)
    if not seen:
        raise InvalidInput("the input has no rows")
    if 2 * len(bad) > seen:
        shown = [Fault(f"#/rows/{failure.row}", failure.detail) for failure in bad[:SHOWN]]
        raise InvalidInput(
            f"{len(bad)} of the first {seen} rows do not fit model {spec.model}; row {bad[0].row}: {bad[0].detail}",
            faults=shown,
        )
    return total


def check_content(spec: Spec, source: Source) -> None:
    """Raises InvalidInput for a file that surely is of another kind."""
    for part in source.parts:
        begin = source.read(part, 0, 512)
        is_parquet = begin[:4] == b"PAR1"
        found = ""
        if not begin:
            found = "is empty"
        elif begin.lstrip()[:1] == b"<":
            found = "is HTML or XML"
        elif begin[:4] == b"PK\x03\x04":
            found = "is a ZIP file (or a spreadsheet)"
        elif is_parquet and spec.format != "parquet":
            found = "is a Parquet file"
        elif spec.format == "csv" and begin.lstrip()[:2] in (b'{"', b"[{"):
            found = "looks like JSON"
        elif spec.format == "jsonl" and begin.lstrip()[:1] == b"[":
            found = "is a JSON array: write its items as lines"
        if found:
            raise InvalidInput(f"{source.name(part)} {found}, and {spec.format} is expected")


def first_rows(made: Plan, form: Format, source: Source) -> tuple[int, list[Failure]]:
    """How many rows were looked at, and those that will fail, in their order."""
    seen = 0
    bad: list[Failure] = []
    for chunk in form.chunks(made, source, lambda: 0):
        end = min(chunk.end, LOOKED_AT)
        bad += [failure for failure in chunk.failures if failure.row < end]
        rows = between(chunk.rows, 0, end)
        if rows is not None:
            bad += unfit(made, rows)
        seen = end
        if chunk.end >= LOOKED_AT:
            break
    return seen, sorted(bad, key=lambda failure: failure.row)


def unfit(made: Plan, rows: pa.Table) -> Iterator[Failure]:
    """Rows that the model's executors will refuse."""
    rows = without_references(rows)
    faults = columns.decode(made.inputs, rows, absent).faults if len(rows) else {}
    for position, fault in faults.items():
        row = rows.column(columns.ROW)[position].as_py()
        yield Failure(row, None, "invalid_input", f"{fault.pointer} {fault.detail}")


def without_references(rows: pa.Table) -> pa.Table:
    """Rows without those that refer to objects: these are read where the rows are run."""
    for field in rows.schema:
        if field.name.startswith(columns.IN) and columns.is_json(field):
            refers = pc.match_substring(rows.column(field.name), '"object"')
            rows = rows.filter(pc.invert(refers).fill_null(True))
    return rows


def absent(key: str) -> bytes:
    raise NotFound(f"no object {key}")
