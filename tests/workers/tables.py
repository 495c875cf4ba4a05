"""Shards for tests: a rows file in an object folder, the message that asks for it, and what came of it."""

import json
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa

from models import columns
from storage.objects import Objects
from storage.scoring import Failure
from tasks.message import VERSION, Lane, Message, Shard

ROWS, OUTPUT = "local/scorings/scr_1/in/00000000.arrow", "local/scorings/scr_1/out/00000000"


class Told(NamedTuple):
    """A shard's outcome, and what lies in its objects."""

    result: dict[str, Any]
    table: pa.Table
    failures: list[Failure]


def table(first: int = 0, *, ids: bool = False, **inputs: Any) -> pa.Table:
    """Rows numbered from `first`; a list of dicts `{"json": text}` is a column of JSON texts."""
    rows = len(next(iter(inputs.values())))
    arrays: list[pa.Array] = [pa.array(range(first, first + rows), pa.int64())]
    fields = [pa.field("row", pa.int64())]
    if ids:
        arrays.append(pa.array([f"id-{first + n}" for n in range(rows)]))
        fields.append(pa.field("custom_id", pa.string()))
    for name, values in inputs.items():
        texts = isinstance(values, list) and isinstance(values[0], dict)
        array = pa.array([value["json"] for value in values]) if texts else pa.array(values)
        arrays.append(array)
        fields.append(pa.field(f"in:{name}", array.type, metadata=columns.JSON if texts else None))
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def put(objects: Objects, rows: pa.Table, key: str = ROWS) -> None:
    chunks: list[bytes] = []
    columns.write_file([rows], chunks.append)
    objects.put(key, chunks)


def message(model: str, *, rows: int = 1, id: str = "scr_1-0", priority: Lane = "low", **fields: Any) -> Message:
    fields.setdefault("shard", Shard(ROWS, OUTPUT))
    return Message(
        v=VERSION, id=id, model=model, version="1", inputs=msgspec.Raw(b"{}"), priority=priority, rows=rows, **fields
    )  # fmt: skip


def told(objects: Objects, outputs: bytes) -> Told:
    """What a shard's outcome names."""
    result = json.loads(outputs)
    failures = objects.read(result["failures"]).splitlines() if result["failures"] else []
    return Told(
        result,
        columns.read_file(objects.read(result["output"])),
        [msgspec.json.decode(line, type=Failure) for line in failures],
    )
