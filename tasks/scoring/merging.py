"""What the shards wrote, as one output and one error file: in row order, in constant memory, always the same bytes."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec
import pyarrow as pa

from storage.objects import Objects
from storage.scoring import Failure, Spec
from storage.streams import Stored
from tasks.scoring import csv_output, jsonl_output, parquet_output
from tasks.scoring.columns_out import columns_of, schema_without_rows
from tasks.scoring.lines import blocks
from tasks.scoring.outputs import schema, tables
from tasks.scoring.plan import ALL
from tasks.scoring.typing_texts import Typed

#: Failures that are written together.
LINES = 1000

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Failure).decode


def merge(
    spec: Spec, objects: Objects, rounds: Sequence[Iterable[str]], key: str, told: Callable[[int], None]
) -> Stored:
    """Write the output under `key` in `spec.output_format`.

    `rounds`: for each round the keys of its shards' output files in row order, which are asked for several times.
    `told` is called now and then with the rows read so far; Parquet may take reading them twice.
    """
    kept = [name for name in spec.keep if name != ALL]
    columns = columns_of(spec, schema(objects, rounds) or schema_without_rows(spec, kept))
    rows = counted(tables(objects, rounds), told)
    if spec.output_format == "jsonl":
        written = jsonl_output.written(rows, columns)
    elif spec.output_format == "csv":
        written = csv_output.written(rows, columns)
    else:
        written = parquet_output.written(rows, columns, Typed(columns, counted(tables(objects, rounds), told)))
    return objects.put(key, written, digest=False)


def counted(tables: Iterator[pa.Table], told: Callable[[int], None]) -> Iterator[pa.Table]:
    rows = 0
    for table in tables:
        yield table
        rows += len(table)
        told(rows)


def merge_failures(objects: Objects, parts: Iterable[Sequence[Failure]], key: str) -> Stored:
    """Write an error file under `key`: the failures of `parts`, which are in row order."""

    def lines() -> Iterator[bytes]:
        held: list[bytes] = []
        for part in parts:
            for failure in part:
                held.append(_encode(failure))
                if len(held) >= LINES:
                    yield b"\n".join([*held, b""])
                    held = []
        if held:
            yield b"\n".join([*held, b""])

    return objects.put(key, lines())


def failed_rows(objects: Objects, key: str) -> Iterator[Failure]:
    """The failures in an error file, in row order."""
    for block in blocks(objects.open(key)):
        for line in (block.lines or b"").split(b"\n"):
            if line:
                yield _decode(line)
