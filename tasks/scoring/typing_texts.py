"""JSON texts as columns with a type, where all of a column's values have one: found in a pass over all of them."""

from base64 import b64decode
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pyarrow as pa

from tasks.scoring.columns_out import Column

#: Beyond it a double does not hold every integer (IEEE 754).
EXACT = 2**53
INT64 = 2**63

_decode = msgspec.json.Decoder().decode


class Typed:
    """What each column of JSON texts becomes: columns that are not here stay as they are."""

    def __init__(self, columns: Sequence[Column], tables: Iterator[pa.Table]) -> None:
        """`tables` is read only where there are such columns."""
        self._axes = {column.inside: column.axes for column in columns if column.json and not column.stays}
        seen: dict[str, set[str]] = {name: set() for name in self._axes}
        for table in tables if seen else ():
            for name, kinds in seen.items():
                kinds |= {kind(value) for value in leaves(parsed(table.column(name)), self._axes[name])}
        self.kinds = {name: typed for name, kinds in seen.items() if (typed := settled(kinds, self._axes[name]))}

    def column(self, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
        kind = self.kinds.get(name)
        return column if kind is None else pa.array(unpacked(parsed(column)), kind)


def parsed(column: pa.ChunkedArray) -> list[Any]:
    texts = ["null" if text is None else text for text in column.to_pylist()]
    found: list[Any] = _decode("[" + ",".join(texts) + "]")
    return found


def leaves(values: list[Any], axes: int) -> list[Any]:
    for _ in range(axes):
        values = [item for value in values if isinstance(value, list) for item in value]
    return values


def kind(value: Any) -> str:
    """What a value is, as far as it decides over the column's type."""
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        return "exact" if abs(value) <= EXACT else "int" if -INT64 <= value < INT64 else "huge"
    if isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str):
        return "bytes"
    return type(value).__name__


def settled(kinds: set[str], axes: int) -> pa.DataType | None:
    """The type that holds them all; None: JSON texts."""
    found: pa.DataType | None = None
    kinds = kinds - {""}
    if kinds <= {"str"}:
        found = pa.string()
    elif kinds <= {"exact", "int"}:
        found = pa.int64()
    elif kinds <= {"exact", "float"}:
        found = pa.float64()
    elif kinds == {"bool"}:
        found = pa.bool_()
    elif kinds == {"bytes"}:
        found = pa.binary()
    for _ in range(axes if found is not None else 0):
        found = pa.list_(found)
    return found


def unpacked(values: list[Any]) -> list[Any]:
    """Values as pyarrow takes them: `{"b64": …}` as bytes."""
    return [
        unpacked(value) if isinstance(value, list) else b64decode(value["b64"]) if isinstance(value, dict) else value
        for value in values
    ]
