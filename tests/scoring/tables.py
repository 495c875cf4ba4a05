"""Scorings over files of a test: their records, their sources, and tables in every format."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from models.manifest import Tensor
from settings import Settings
from storage.inputs import uploaded
from storage.objects import Objects, open_objects
from storage.scoring import Spec
from tasks.scoring.sources import Source, open_source

FLOATS = Tensor("x", "FP32", (-1, 3))
TEXT = Tensor("text", "BYTES", (-1,))
SCORES = Tensor("scores", "FP32", (-1, 2))

Row = Mapping[str, Any]


def parquet(rows: Sequence[Row], schema: pa.Schema | None = None, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows], schema), sink, **options)
    return sink.getvalue()


def jsonl(rows: Sequence[Row]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def delimited(rows: Sequence[Row]) -> bytes:
    """CSV; lists as JSON texts."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    for row in rows:
        writer.writerow({name: json.dumps(value) if isinstance(value, list) else value for name, value in row.items()})
    return text.getvalue().encode()


WRITERS: dict[str, Callable[[Sequence[Row]], bytes]] = {"parquet": parquet, "jsonl": jsonl, "csv": delimited}


def folder(path: Path) -> Objects:
    return open_objects(f"file://{path}/objects")


def scoring(
    objects: Objects, files: Iterable[bytes], format: str, *, inputs: Sequence[Tensor] = (FLOATS,),
    outputs: Sequence[Tensor] = (SCORES,), output_format: str = "jsonl", **given: Any,
) -> tuple[Spec, Source]:  # fmt: skip
    """A scoring of these uploads."""
    parts = []
    for number, data in enumerate(files):
        key = f"acme/objects/{number}"
        objects.put(key, [data])
        parts.append(uploaded(objects, key))
    spec = Spec(
        id="scr_1", tenant="acme", model="m", version="1", input=tuple(parts), format=format,
        output_format=output_format, inputs=msgspec.Raw(msgspec.json.encode(list(inputs))),
        outputs=msgspec.Raw(msgspec.json.encode(list(outputs))), max_items=4, created_ms=1, **given,
    )  # fmt: skip
    return spec, open_source(spec, objects, Settings())
