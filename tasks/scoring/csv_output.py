"""An output as CSV with a header (RFC 4180, lines end in LF): lists and objects are JSON texts, null is empty."""

import re
from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
import pyarrow as pa
from pyarrow import types

from models.columns import listed, textual
from tasks.scoring.columns_out import Column
from tasks.scoring.json_values import NULL, texts
from tasks.scoring.outputs import small

SPECIAL = re.compile(rb'[",\r\n]')

_decode = msgspec.json.decode


def written(tables: Iterator[pa.Table], columns: Sequence[Column]) -> Iterator[bytes]:
    yield b",".join(cell(column.name.encode()) for column in columns) + b"\n"
    for table in small(tables):
        values = [cells(table.column(column.inside).combine_chunks(), column) for column in columns]
        yield b"".join([b",".join(row) + b"\n" for row in zip(*values, strict=True)])


def cells(array: pa.Array, column: Column) -> list[bytes]:
    if column.json:
        return [from_json(text, stays=column.stays) for text in array.to_pylist()]
    if textual(array.type):
        return [b"" if value is None else cell(value.encode()) or b'""' for value in array.to_pylist()]
    found = texts(array)
    if types.is_floating(array.type):
        return floats(array, found)
    if types.is_integer(array.type) or types.is_boolean(array.type):
        return [b"" if text == NULL else text for text in found]
    if listed(array.type) and b'"' not in b"".join(found):
        # Numbers: each cell is the same work, and there are as many as rows.
        return [b"" if text == NULL else b'"%b"' % text for text in found]
    if types.is_nested(array.type) or types.is_binary(array.type):
        return [b"" if text == NULL else cell(text) for text in found]
    # Times and decimals are strings in JSON.
    return [b"" if text == NULL else cell(text.strip(b'"')) for text in found]


def floats(array: pa.Array, found: list[bytes]) -> list[bytes]:
    """NaN and the infinities by name: JSON has no word for them, CSV does not care."""
    values = array.to_numpy(zero_copy_only=False)
    valid = array.is_valid().to_numpy(zero_copy_only=False)
    for position in np.flatnonzero(~np.isfinite(values)).tolist():
        found[position] = str(float(values[position])).replace("nan", "NaN").encode() if valid[position] else b""
    return found


def from_json(text: str | None, *, stays: bool) -> bytes:
    """A string as itself, anything else as JSON."""
    if text is None or (text == "null" and not stays):
        return b""
    if text[:1] == '"' and not stays:
        return cell(_decode(text).encode()) or b'""'
    return cell(text.encode())


def cell(text: bytes) -> bytes:
    return b'"' + text.replace(b'"', b'""') + b'"' if SPECIAL.search(text) else text
