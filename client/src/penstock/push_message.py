"""Messages as any program may write them (docs/messages.md): one job each, or a shard of a table's rows."""

import base64
import hmac
import json
import os
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from penstock.errors import InvalidInput
from penstock.inputs import encode
from penstock.submission import Submission, document, to_json

#: The schema's version.
VERSION = 1
EXCHANGE = "penstock.jobs"
#: Where a signing key stands that is not given.
KEY_SETTING = "PENSTOCK_SIGNING_KEY"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message on its way to a queue."""

    id: str
    queue: str
    body: bytes
    #: The queue that wants to hear of the job's end; empty: none.
    reply_to: str = ""


@dataclass(frozen=True, slots=True)
class Shard:
    """Rows that travel in one message."""

    id: str
    #: The number of its first row in the whole table.
    start: int
    #: The inputs' names, and for each row its values, as JSON.
    names: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def inputs(self) -> bytes:
        columns = (f"{json.dumps(name)}:[{','.join(values)}]" for name, values in self._columns())
        return f"{{{','.join(columns)}}}".encode()

    def _columns(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        return zip(self.names, zip(*self.rows, strict=True), strict=True)

    def singles(self) -> list["Shard"]:
        """Each row as a shard of its own."""
        return [
            Shard(f"{self.id}-{place}", self.start + place, self.names, (row,)) for place, row in enumerate(self.rows)
        ]


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """Where messages go, and whose jobs they are."""

    model: str
    version: str
    pool: str = "cpu"
    priority: str = "normal"
    tenant: str = "local"

    @property
    def queue(self) -> str:
        return f"{self.pool}.{self.model}.{self.version}.{self.priority}"


@dataclass(frozen=True, slots=True)
class Envelope:
    """What all messages of one run have in common."""

    address: Address
    #: Whatever else is said of each job, as the schema names it.
    fields: Mapping[str, Any] = field(default_factory=dict)
    key: str = ""
    reply_to: str = ""

    def message(self, id: str, inputs: bytes, *, rows: int = 1) -> Outgoing:
        head = {
            "v": VERSION,
            "id": id,
            "model": self.address.model,
            "version": self.address.version,
            "pool": self.address.pool,
            "priority": self.address.priority,
            "tenant": self.address.tenant,
            "created_ms": time.time_ns() // 1_000_000,
            "rows": rows,
            **self.fields,
        }
        body = to_json(head)[:-1] + b',"inputs":' + inputs + b"}"
        return Outgoing(id, self.address.queue, signed(body, self.key) if self.key else body, self.reply_to)

    def shard(self, shard: Shard) -> Outgoing:
        return self.message(shard.id, shard.inputs(), rows=len(shard.rows))


def signed(body: bytes, key: str) -> bytes:
    """The message with its signature as the last member."""
    signature = base64.b64encode(hmac.digest(key.encode(), body, "sha256"))
    return body[:-1] + b',"sig":"v1,' + signature + b'"}'


def signing_key_of(given: str | None) -> str:
    """The key to sign with: the one given, that of the environment (its first, where it has two), or none.

    Raises OSError where the file that PENSTOCK_SIGNING_KEY_FILE names cannot be read.
    """
    if given is None:
        file = os.environ.get(KEY_SETTING + "_FILE")
        given = Path(file).read_text() if file else os.environ.get(KEY_SETTING, "")
    return given.partition(",")[0].strip()


def new_id(prefix: str = "push") -> str:
    """Unique for ever, and sorted by time."""
    return f"{prefix}_{time.time_ns():016x}{secrets.token_hex(4)}"


def options(submission: Submission) -> tuple[bytes, dict[str, Any]]:
    """A submission's inputs as JSON, and what else it says of the job."""
    body = document(submission, no_upload)
    inputs = to_json(body.pop("inputs"))
    return inputs, {name: value for name, value in body.items() if name not in ("model", "version", "priority")}


def no_upload(source: bytes | Path) -> str:
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    raise InvalidInput(
        f"{size} bytes are too large for a message: submit this job through the gateway, or put them into the object "
        'store and name their key: {"object": "<tenant>/…", "as": "bytes"}'
    )


def shards(rows: Iterable[Mapping[str, Any]], *, run: str, most_rows: int, most_bytes: int) -> Iterator[Shard]:
    """Cut rows into shards of `most_rows`, or fewer where their values are longer than `most_bytes` together.

    Raises InvalidInput for a row that is no mapping of the inputs' names, or has others than the first.
    """
    names: tuple[str, ...] = ()
    held: list[tuple[str, ...]] = []
    start, size, number = 0, 0, -1
    for number, row in enumerate(rows):
        names = names or named(row, number)
        texts = values(row, names, number)
        weight = sum(map(len, texts))
        if held and (len(held) == most_rows or size + weight > most_bytes):
            yield Shard(f"{run}-{start:010d}", start, names, tuple(held))
            start, size, held = number, 0, []
        held.append(texts)
        size += weight
    if held:
        yield Shard(f"{run}-{start:010d}", start, names, tuple(held))


def named(row: Mapping[str, Any], number: int) -> tuple[str, ...]:
    if not isinstance(row, Mapping) or not row:
        raise InvalidInput(f"row {number} is a {type(row).__name__}; a row maps each input's name to its value")
    return tuple(row)


def values(row: Mapping[str, Any], names: Sequence[str], number: int) -> tuple[str, ...]:
    if not isinstance(row, Mapping) or row.keys() != set(names):
        raise InvalidInput(f"row {number} has not the names of the first row ({', '.join(names)})")
    return tuple(to_json(encode(row[name], pointer=f"#/{number}/{name}")).decode() for name in names)


def rows_of(table: Any) -> Iterator[Mapping[str, Any]]:
    """A table's rows: mappings as they are; a polars, pandas or Arrow table, or a mapping of columns, row by row."""
    if callable(iter_rows := getattr(table, "iter_rows", None)):
        yield from iter_rows(named=True)
    elif callable(itertuples := getattr(table, "itertuples", None)):
        names = [str(name) for name in table.columns]
        yield from (dict(zip(names, row, strict=True)) for row in itertuples(index=False, name=None))
    elif callable(to_batches := getattr(table, "to_batches", None)):
        yield from (row for batch in to_batches() for row in batch.to_pylist())
    elif isinstance(table, Mapping):
        yield from (dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True))
    else:
        yield from table
