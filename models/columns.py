"""Rows in Arrow: the columns of a rows file as a model's rows, and its outputs as columns.

A rows file has `row` (int64, counted over the whole input), `custom_id` (string, where there is one), `keep:<column>`
passed through as they are, and `in:<input>`: a native column (`models.fromarrow`), or one of JSON texts that its
field's metadata mark (`JSON`; `models.jsontexts`). An output file has `out:<output>` (`models.toarrow`) in their place.

A leaf: only executors and `tasks.scoring` import it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from errors import Fault, InvalidInput
from models.arrays import Batch, Fetch, Rows
from models.doubts import doubtful
from models.fromarrow import Column, Unfit, complaint, listed, native_rows, textual
from models.jsontexts import json_rows
from models.manifest import Tensor
from models.pointers import pointer
from models.toarrow import JSON, output_field, to_column

__all__ = [
    "CUSTOM_ID", "IN", "JSON", "KEEP", "OUT", "ROW", "Decoded", "Sink", "check", "decode", "is_json", "listed",
    "output_schema", "output_table", "read_file", "rows_of", "textual", "to_column", "write_file",
]  # fmt: skip

ROW, CUSTOM_ID, KEEP, IN, OUT = "row", "custom_id", "keep:", "in:", "out:"


class Decoded(NamedTuple):
    """The rows of a table that fit the model, and what is wrong with the others."""

    #: Empty where no row fits.
    batch: Batch
    #: Positions in the table of the batch's rows, rising.
    kept: Sequence[int]
    #: Position -> what is wrong with that row: its first fault; `pointer` names the input.
    faults: Mapping[int, Fault]


def is_json(field: pa.Field) -> bool:
    """Whether a column's values are JSON texts."""
    return (field.metadata or {}).get(b"penstock") == b"json"


def check(tensors: Sequence[Tensor], schema: pa.Schema) -> list[Fault]:
    """What of a rows file's schema does not fit the inputs `tensors`; nothing: its rows may be read."""
    faults = [fault for tensor in tensors if (fault := column_fault(tensor, schema))]
    if schema.get_field_index(ROW) == -1 or schema.field(ROW).type != pa.int64():
        faults.append(Fault("#/row", "must be a column of int64: the number of each row"))
    return faults


def column_fault(tensor: Tensor, schema: pa.Schema) -> Fault | None:
    count = len(schema.get_all_field_indices(IN + tensor.name))
    if count != 1:
        reason = f"has {count} columns {IN + tensor.name!r}" if count else f"has no column {IN + tensor.name!r}"
        return Fault(pointer(tensor.name), reason)
    field = schema.field(IN + tensor.name)
    if is_json(field):
        reason = "" if textual(field.type) else f"must be JSON texts; its column holds {field.type}"
    else:
        reason = complaint(tensor, field.type)
    return Fault(pointer(tensor.name), reason) if reason else None


def decode(tensors: Sequence[Tensor], table: pa.Table, fetch: Fetch) -> Decoded:
    """The rows of a rows file, or of a slice of one; no exception for a bad row.

    A numeric input becomes an array with an axis for rows; where its rows differ in shape (declared -1), a list of
    arrays, one a row. BYTES as in `models.arrays`. Arrays may be read-only views of the table's memory. `fetch` is
    called with what `{"object": …}` of a JSON text names. Raises InvalidInput for a schema that does not fit, and what
    `fetch` raises other than NotFound.
    """
    if wrong := check(tensors, table.schema):
        raise InvalidInput(f"{wrong[0].pointer} {wrong[0].detail}", faults=wrong)
    try:
        return Decoded(batch_of(tensors, table, fetch), range(len(table)), {})
    except InvalidInput:
        faults: dict[int, Fault] = {}
        for tensor in tensors:
            add_faults(tensor, *named(table, tensor), fetch, faults)
    kept = [position for position in range(len(table)) if position not in faults]
    batch = batch_of(tensors, table.take(pa.array(kept, pa.int64())), fetch) if kept else {}
    return Decoded(batch, kept, dict(sorted(faults.items())))


def batch_of(tensors: Sequence[Tensor], table: pa.Table, fetch: Fetch) -> Batch:
    return {tensor.name: rows_of(tensor, *named(table, tensor), fetch) for tensor in tensors}


def named(table: pa.Table, tensor: Tensor) -> tuple[pa.Field, Column]:
    return table.schema.field(IN + tensor.name), table.column(IN + tensor.name)


def add_faults(tensor: Tensor, field: pa.Field, column: Column, fetch: Fetch, faults: dict[int, Fault]) -> None:
    """Add what is wrong with each row of a column; of a row that has a fault already nothing more is said."""
    for position in () if is_json(field) else doubtful(tensor, column).tolist():
        search(tensor, field, column.slice(position, 1), fetch, [position], faults)
    others = [position for position in range(len(column)) if position not in faults]
    search(tensor, field, column.take(pa.array(others, pa.int64())), fetch, others, faults)


def search(
    tensor: Tensor, field: pa.Field, column: Column, fetch: Fetch, positions: Sequence[int], faults: dict[int, Fault]
) -> None:
    """Look at a column whose rows stand at `positions` by halves: good rows are looked at together."""
    if not positions:
        return
    try:
        rows_of(tensor, field, column, fetch)
    except InvalidInput as error:
        if len(positions) == 1:
            faults.setdefault(positions[0], error.faults[0])
            return
        half = len(positions) // 2
        search(tensor, field, column.slice(0, half), fetch, positions[:half], faults)
        search(tensor, field, column.slice(half), fetch, positions[half:], faults)


def rows_of(tensor: Tensor, field: pa.Field, column: Column, fetch: Fetch) -> Rows:
    """One input's rows; raises InvalidInput where any of them does not fit."""
    try:
        return json_rows(tensor, column, fetch) if is_json(field) else native_rows(tensor, column)
    except Unfit as error:
        where = pointer(tensor.name)
        raise InvalidInput(f"{where} {error}", faults=[Fault(where, str(error))]) from error


def output_schema(tensors: Sequence[Tensor]) -> pa.Schema:
    """The `out:` columns of an output file: a function of the model's outputs alone."""
    return pa.schema([output_field(tensor, OUT + tensor.name) for tensor in tensors])


def output_table(tensors: Sequence[Tensor], table: pa.Table, kept: Sequence[int], outputs: Batch) -> pa.Table:
    """An output file's content: `row`, `custom_id` and `keep:*` of the rows `kept` of `table`, and their outputs."""
    passed = table.select([name for name in table.column_names if not name.startswith(IN)])
    if len(kept) != len(table):
        passed = passed.take(pa.array(np.asarray(kept, dtype=np.int64)))
    fields = [*passed.schema, *output_schema(tensors)]
    columns = [*passed.columns, *(to_column(tensor, outputs[tensor.name]) for tensor in tensors)]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def read_file(data: bytes | memoryview) -> pa.Table:
    """An Arrow IPC file's content without a copy; raises InvalidInput where it is none."""
    try:
        return pa.ipc.open_file(pa.BufferReader(data)).read_all()
    except (pa.ArrowInvalid, OSError) as error:
        raise InvalidInput(f"the rows are no Arrow IPC file: {error}") from error


def write_file(tables: Sequence[pa.Table], write: Callable[[bytes], object]) -> None:
    """Tables of one schema as one Arrow IPC file, uncompressed, through `write`, a piece at a time."""
    with pa.ipc.new_file(Sink(write), tables[0].schema) as file:
        for table in tables:
            file.write_table(table)


class Sink:
    """A function as the file that pyarrow writes to."""

    closed = False

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._at = 0

    def write(self, data: bytes) -> int:
        self._write(bytes(data))
        self._at += len(data)
        return len(data)

    def tell(self) -> int:
        return self._at

    def flush(self) -> None:
        return

    def close(self) -> None:
        return
