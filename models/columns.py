"""Rows in Arrow: the columns of a rows file as a model's rows, and its outputs as columns.

A rows file has `row` (int64, counted over the whole input), `custom_id` (string, where there is one), `keep:<column>`
passed through as they are, and `in:<input>`: a native column (numbers, lists of them, strings, binary), or one of
JSON texts that its field's metadata mark (`JSON`). An output file has `out:<output>` in their place.

A leaf: only executors and `tasks.scoring` import it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa

from errors import Fault
from models.arrays import Batch, Fetch, Rows
from models.manifest import Tensor

ROW, CUSTOM_ID, KEEP, IN, OUT = "row", "custom_id", "keep:", "in:", "out:"
#: Metadata of a string column whose values are JSON texts.
JSON = {b"penstock": b"json"}


class Decoded(NamedTuple):
    """The rows of a table that fit the model, and what is wrong with the others."""

    batch: Batch
    #: Positions in the table of the batch's rows, rising.
    kept: Sequence[int]
    #: Position -> what is wrong with that row: its first fault; `pointer` names the input.
    faults: Mapping[int, Fault]


def check(tensors: Sequence[Tensor], schema: pa.Schema) -> list[Fault]:
    """What of a rows file's schema does not fit the inputs `tensors`; nothing: its rows may be read."""
    raise NotImplementedError


def decode(tensors: Sequence[Tensor], table: pa.Table, fetch: Fetch) -> Decoded:
    """The rows of a rows file, or of a slice of one; no exception for a bad row.

    A numeric input becomes an array with an axis for rows; where its rows differ in shape (declared -1), a list of
    arrays, one a row. BYTES and JSON as in `models.arrays`. Arrays may be read-only views of the table's memory.
    `fetch` is called with what `{"object": …}` of a JSON text names. Raises InvalidInput for a schema that does not
    fit, and what `fetch` raises other than NotFound.
    """
    raise NotImplementedError


def rows_of(tensor: Tensor, field: pa.Field, column: pa.Array | pa.ChunkedArray, fetch: Fetch) -> Rows:
    """One input's rows; raises InvalidInput where any of them does not fit."""
    raise NotImplementedError


def output_schema(tensors: Sequence[Tensor]) -> pa.Schema:
    """The `out:` columns of an output file: a function of the model's outputs alone."""
    raise NotImplementedError


def to_column(tensor: Tensor, rows: Rows) -> pa.Array:
    """One output's validated rows (`models.outputs`) as `output_schema` types them."""
    raise NotImplementedError


def output_table(tensors: Sequence[Tensor], table: pa.Table, kept: Sequence[int], outputs: Batch) -> pa.Table:
    """An output file's content: `row`, `custom_id` and `keep:*` of the rows `kept` of `table`, and their outputs."""
    raise NotImplementedError


def read_file(data: bytes | memoryview) -> pa.Table:
    """An Arrow IPC file's content without a copy; raises InvalidInput where it is none."""
    raise NotImplementedError


def write_file(tables: Sequence[pa.Table], write: Callable[[bytes], object]) -> None:
    """Tables of one schema as one Arrow IPC file, uncompressed; equal rows give equal bytes however they are cut."""
    raise NotImplementedError
