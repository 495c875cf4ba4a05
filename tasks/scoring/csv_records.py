"""The records of a CSV file: blocks whose lines are records for sure, or one record after the other."""

import csv
from collections.abc import Iterator
from typing import NamedTuple

from tasks.scoring.lines import MAX_LINE_BYTES, Block, too_long

# One number for the whole process; nothing else in it reads CSV.
csv.field_size_limit(MAX_LINE_BYTES)


class Record(NamedTuple):
    #: Of its first line, counted from 1.
    line: int
    values: list[str]
    #: Why it is none; empty for a good one.
    reason: str


class Records:
    """Reads blocks of lines; what csv.reader iterates over, a line at a time."""

    def __init__(self, blocks: Iterator[Block]) -> None:
        self._blocks = blocks
        self._reader = csv.reader(self, strict=True)
        self._block = b""
        self._at = 0
        #: Of the next line.
        self._line = 1
        self._too_long = False
        self._undecodable = False
        #: The rest of a line that holds carriage returns, which end lines as well.
        self._pending: list[bytes] = []

    @property
    def ended(self) -> bool:
        return not self._loaded()

    def first(self) -> list[str]:
        """The first record that is not blank; empty where there is none. Raises csv.Error."""
        while self._loaded():
            record = self._next()
            if record.reason:
                raise csv.Error(f"line {record.line} {record.reason}")
            if record.values:
                return record.values
        return []

    def plain(self) -> bytes | None:
        """What is left of a block, where each of its lines is a record; else None."""
        if not self._loaded() or self._too_long or self._pending:
            return None
        rest = self._block[self._at :]
        if b'"' in rest or (b"\r" in rest and rest.count(b"\r") != rest.count(b"\r\n")):
            return None
        return rest

    def drop(self) -> None:
        """Go on after the block."""
        self._line += self._block.count(b"\n", self._at)
        self._at = len(self._block)

    def block(self) -> Iterator[Record]:
        """Records up to the end of a block; the last one may reach into the next."""
        while self._loaded():
            record = self._next()
            if record.values or record.reason:
                yield record
            if self._at >= len(self._block) and not self._pending:
                return

    def _next(self) -> Record:
        line, self._undecodable = self._line, False
        try:
            values = next(self._reader)
        except StopIteration:
            return Record(line, [], "")
        except csv.Error as error:
            return Record(line, [], f"is no CSV: {error}")
        return Record(line, values, "is not UTF-8" if self._undecodable else "")

    def __iter__(self) -> "Records":
        return self

    def __next__(self) -> str:
        if not self._pending and not self._loaded():
            raise StopIteration
        if self._too_long:
            self._too_long = False
            self._line += 1
            raise csv.Error(too_long(self._line - 1))
        line = self._pending.pop(0) if self._pending else self._take()
        try:
            return line.decode()
        except UnicodeDecodeError:
            self._undecodable = True
            return line.decode(errors="replace")

    def _take(self) -> bytes:
        end = self._block.find(b"\n", self._at) + 1 or len(self._block)
        line = self._block[self._at : end]
        self._at = end
        self._line += 1
        if b"\r" in line[:-2]:
            line, *self._pending = line.splitlines(keepends=True)
        return line

    def _loaded(self) -> bool:
        """Whether there is something left, the next block fetched where this one is done."""
        while self._at >= len(self._block) and not self._pending and not self._too_long:
            block = next(self._blocks, None)
            if block is None:
                return False
            self._block, self._at, self._line = block.lines or b"", 0, block.number
            self._too_long = block.lines is None
        return True
