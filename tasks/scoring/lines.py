"""A text file in blocks of whole lines, in constant memory whatever it holds."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

#: Bytes of a block, about.
BLOCK_BYTES = 2**20
#: A line, and a quoted field of CSV, of more bytes is a row that fails.
MAX_LINE_BYTES = 16 * 2**20
BOM = b"\xef\xbb\xbf"


class Block(NamedTuple):
    #: Whole lines; None: one line that was too long to be kept.
    lines: bytes | None
    #: Of its first line, counted from 1.
    number: int


def blocks(pieces: Iterable[bytes]) -> Iterator[Block]:
    """All lines; a byte order mark at the beginning is taken off."""
    number, first = 1, True
    for lines in whole(small(pieces)):
        if first and lines is not None:
            lines = lines.removeprefix(BOM)
        first = False
        if lines != b"":
            yield Block(lines, number)
        number += 1 if lines is None else lines.count(b"\n")


def small(pieces: Iterable[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        for at in range(0, len(piece), BLOCK_BYTES):
            yield piece[at : at + BLOCK_BYTES]


def whole(pieces: Iterable[bytes]) -> Iterator[bytes | None]:
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        cut = piece.rfind(b"\n") + 1
        if not cut:
            size += len(piece)
            held = [*held, piece] if size <= MAX_LINE_BYTES else []
            continue
        if size > MAX_LINE_BYTES:
            # The end of a line that was thrown away.
            yield None
            held, start = [], piece.index(b"\n") + 1
        else:
            start = 0
        yield b"".join([*held, piece[start:cut]])
        held, size = [piece[cut:]], len(piece) - cut
    yield None if size > MAX_LINE_BYTES else b"".join(held)


def too_long(number: int) -> str:
    return f"line {number} has more than {MAX_LINE_BYTES // 2**20} MiB"
