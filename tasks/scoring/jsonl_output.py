"""An output as JSON lines: an object a row."""

from collections.abc import Iterator, Sequence

import orjson
import pyarrow as pa

from tasks.scoring.columns_out import Column
from tasks.scoring.json_values import NULL, texts
from tasks.scoring.outputs import small


def written(tables: Iterator[pa.Table], columns: Sequence[Column]) -> Iterator[bytes]:
    # A name may hold a percent sign.
    names = [orjson.dumps(column.name).replace(b"%", b"%%") for column in columns]
    line = b"{" + b",".join(name + b":%b" for name in names) + b"}\n"
    for table in small(tables):
        values = [json_texts(table.column(column.inside), column) for column in columns]
        yield b"".join([line % row for row in zip(*values, strict=True)])


def json_texts(column: pa.ChunkedArray, kind: Column) -> list[bytes]:
    array = column.combine_chunks()
    if kind.json:
        return [NULL if text is None else text.encode() for text in array.to_pylist()]
    return texts(array)
