"""Bytes on their way into and out of the object store, a piece at a time."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import BinaryIO

import msgspec

from errors import PayloadTooLarge

#: How much is held at once when an object is copied, in bytes.
CHUNK_BYTES = 256 * 1024


class Stored(msgspec.Struct, frozen=True):
    """What was stored."""

    bytes: int
    #: Hexadecimal; empty where nobody asked for it.
    sha256: str


class Stat(msgspec.Struct, frozen=True):
    """What an object is now."""

    bytes: int
    #: Another one as soon as the bytes are others; of a form that only the store knows.
    etag: str


class Incoming:
    """A source read in pieces of a wanted size, counted and (with `digest`) hashed on the way."""

    def __init__(self, source: Iterable[bytes] | BinaryIO, *, max_bytes: int | None, digest: bool = True) -> None:
        self._chunks = pieces(source)
        #: Of a piece, what was not asked for yet: a view, since what is left of a long one would be copied again and
        #: again.
        self._left: bytes | memoryview = b""
        self._max_bytes = max_bytes
        self._count = 0
        self._hash = hashlib.sha256() if digest else None

    def read(self, size: int) -> bytes:
        """The next `size` bytes, fewer only at the end; raises PayloadTooLarge, and whatever the source raises."""
        taken: list[bytes | memoryview] = []
        while size:
            chunk = self._left or self._next(size)
            if chunk is None:
                break
            taken.append(chunk[:size])
            self._left = chunk[size:]
            size -= len(taken[-1])
        return b"".join(taken)

    def _next(self, size: int) -> bytes | memoryview | None:
        chunk = next(self._chunks, None)
        if chunk is None:
            return None
        self._account(chunk)
        return chunk if len(chunk) <= size else memoryview(chunk)

    def _account(self, chunk: bytes) -> None:
        self._count += len(chunk)
        if self._max_bytes is not None and self._count > self._max_bytes:
            raise too_large(self._max_bytes)
        if self._hash is not None:
            self._hash.update(chunk)

    @property
    def stored(self) -> Stored:
        """What was read so far."""
        return Stored(self._count, self._hash.hexdigest() if self._hash else "")


def pieces(source: Iterable[bytes] | BinaryIO) -> Iterator[bytes]:
    # A file is an iterable too, but of lines: one line may be all of it.
    if isinstance(source, Iterable) and not hasattr(source, "read"):
        return iter(source)
    return iter(lambda: source.read(CHUNK_BYTES), b"")


class Outgoing:
    """An object's bytes in pieces; iterate to the end or call `close`."""

    def __init__(self, read: Callable[[int], bytes], close: Callable[[], None]) -> None:
        self._read, self._close = read, close
        self._ended = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if not self._ended and (chunk := self._read(CHUNK_BYTES)):
            return chunk
        self.close()
        raise StopIteration

    def close(self) -> None:
        self._ended = True
        self._close()

    def whole(self, max_bytes: int | None) -> bytes:
        """All of it at once; raises PayloadTooLarge before it holds more than `max_bytes` and one piece."""
        parts, count = [], 0
        with closing(self):
            for chunk in self:
                count += len(chunk)
                if max_bytes is not None and count > max_bytes:
                    raise too_large(max_bytes)
                parts.append(chunk)
        return b"".join(parts)


def disposition(name: str) -> str:
    """Content-Disposition: a browser must not run bytes as a page of the origin that they come from.

    `name`: of the file, in characters that need no quoting; empty: none is said.
    """
    return f'attachment; filename="{name}"' if name else "attachment"


def too_large(max_bytes: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"more than the {max_bytes} bytes allowed")
