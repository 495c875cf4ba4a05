"""Rows of JSON lines: an object a line, whose values go to the model as they are written.

`{"custom_id": …, "inputs": {…}}` is taken as well: then what `inputs` holds counts as columns too.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import islice

import msgspec
import pyarrow as pa

from errors import InvalidInput
from storage.scoring import Failure, Part
from tasks.scoring.chunk import At, Chunk, Made, failure, table
from tasks.scoring.lines import Block, blocks, too_long
from tasks.scoring.plan import Plan
from tasks.scoring.sources import Source

#: Lines whose keys are the columns of the file.
LOOKED_AT = 1000
#: The key of an object that holds a row's inputs.
INPUTS = "inputs"
OBJECT_ID = re.compile(r"obj_[0-9A-HJKMNP-TV-Z]{26}")

Row = Mapping[str, msgspec.Raw]
_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_value = msgspec.json.Decoder().decode
_reference = msgspec.json.Decoder(dict[str, object]).decode


class Unreadable(ValueError):
    """A line that is no row; the message is the reason."""


def names(source: Source) -> list[str]:
    """The keys of the first lines, in the order in which they come up; raises InvalidInput where none is an object."""
    found: dict[str, None] = {}
    first = ""
    for number, line in islice(lines(source), LOOKED_AT):
        try:
            found |= dict.fromkeys(parsed(line))
        except Unreadable as error:
            first = first or f"line {number} {error}"
    if not found:
        name = source.name(source.parts[0])
        raise InvalidInput(f"{name} is no JSON lines file, with an object in each line: {first or 'it is empty'}")
    return list(found)


def lines(source: Source) -> Iterator[tuple[int, bytes]]:
    """Lines that are not blank, with their numbers in their part."""
    for part in source.parts:
        for block in blocks(source.text(part)):
            for number, line in enumerate((block.lines or b"").split(b"\n"), block.number):
                if not blank(line):
                    yield number, line


def total(plan: Plan, source: Source) -> int:
    """Not known before all is read."""
    return -1


def chunks(plan: Plan, source: Source, at: At) -> Iterator[Chunk]:
    """The rows of all parts: lines that are not blank."""
    start = 0
    for part in source.parts:
        for block in blocks(source.text(part)):
            found = numbered(block)
            end = start + len(found)
            if end <= at():
                yield Chunk(start, end, None, [])
            elif found:
                yield Reading(plan, source, part).chunk(found, start)
            start = end


def numbered(block: Block) -> list[tuple[int, bytes | None]]:
    """The lines of a block that are not blank, and their numbers; None for one that is too long."""
    if block.lines is None:
        return [(block.number, None)]
    return [(place, line) for place, line in enumerate(block.lines.split(b"\n"), block.number) if not blank(line)]


def blank(line: bytes) -> bool:
    return not line or line.isspace()


def parsed(line: bytes) -> dict[str, msgspec.Raw]:
    """A line's values by their keys; raises Unreadable."""
    try:
        # msgspec leaves what it does not look at as it is.
        line.decode()
        row = _decode(line)
        if INPUTS in row and bytes(row[INPUTS]).startswith(b"{"):
            inside = _decode(row[INPUTS])
            # A model's own input may be called so, and be base64 or a reference.
            if not inside.keys() & {"b64", "object"}:
                del row[INPUTS]
                row |= inside
    except UnicodeDecodeError as error:
        raise Unreadable("is not UTF-8") from error
    except msgspec.ValidationError as error:
        raise Unreadable("is JSON, but no object") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise Unreadable(f"is not JSON: {error}") from error
    return row


class Reading:
    """Turns lines into columns."""

    def __init__(self, plan: Plan, source: Source, part: Part) -> None:
        self._plan = plan
        self._place = source.place(part)
        self._rows: list[int] = []
        self._ids: list[str | None] = []
        self._kept: dict[str, list[bytes | None]] = {name: [] for name in plan.keep}
        self._inputs: dict[str, list[bytes]] = {name: [] for name in plan.sources}
        self._failures: list[Failure] = []

    def chunk(self, lines: list[tuple[int, bytes | None]], start: int) -> Chunk:
        for row, (number, line) in enumerate(lines, start):
            self._add(row, number, line)
        return Chunk(start, start + len(lines), table(self._plan, self._made()), self._failures)

    def _add(self, row: int, number: int, line: bytes | None) -> None:
        custom_id = None
        try:
            if line is None:
                raise Unreadable("is too long")
            values = parsed(line)
            custom_id = named(values.get(self._plan.custom_id))
            inputs = {name: self._input(name, values) for name in self._inputs}
        except Unreadable as error:
            detail = too_long(number) if line is None else f"line {number} {error}"
            self._failures.append(failure(row, self._place + detail, custom_id))
            return
        self._rows.append(row)
        self._ids.append(custom_id)
        for name, kept in self._kept.items():
            kept.append(bytes(values[name]) if name in values else None)
        for name, value in inputs.items():
            self._inputs[name].append(value)

    def _input(self, name: str, values: Row) -> bytes:
        source = self._plan.sources[name]
        try:
            if isinstance(source, tuple):
                return b"[" + b",".join([bytes(values[column]) for column in source]) + b"]"
            text = bytes(values[source])
        except KeyError as error:
            raise Unreadable(f"has no {error.args[0]!r}, of which input {name!r} is made") from error
        return self._resolved(text) if text[:1] == b"{" and b"object" in text else text

    def _resolved(self, text: bytes) -> bytes:
        """A reference to an upload with the upload's key in place of its id: rows see none but their tenant's."""
        value = _reference(text)
        if "object" not in value:
            return text
        if not OBJECT_ID.fullmatch(str(value["object"])):
            raise Unreadable(f"refers to {str(value['object'])[:80]!r}, which is no object's id")
        return msgspec.json.encode({**value, "object": f"{self._plan.tenant}/objects/{value['object']}"})

    def _made(self) -> Made:
        columns = {name: pa.array(values, pa.string()) for name, values in self._kept.items()}
        return Made(
            rows=self._rows,
            columns=columns,
            custom_ids=pa.array(self._ids, pa.string()) if self._plan.custom_id else None,
            inputs={name: pa.array(values, pa.string()) for name, values in self._inputs.items()},
            texts=frozenset(self._inputs),
            kept_texts=True,
        )


def named(raw: msgspec.Raw | None) -> str | None:
    """A row's id: a string as it is, anything else as it is written."""
    value = None if raw is None else _value(raw)
    if value is None or isinstance(value, str):
        return value
    return bytes(raw or b"").decode()
