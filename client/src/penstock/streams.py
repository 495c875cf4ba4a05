"""Files and iterables, for a client that may block; `penstock.aio.streams` is the same for one that may not."""

from collections.abc import Iterable, Iterator
from typing import BinaryIO, TypeVar

T = TypeVar("T")

#: What is sent: bytes, or pieces as they are read.
Body = bytes | Iterator[bytes]


def content(body: Body) -> Body:
    """The body as the HTTP client takes it."""
    return body


def store(into: BinaryIO, chunk: bytes) -> None:
    """Write a piece to a file."""
    into.write(chunk)


def each(items: Iterable[T]) -> Iterator[T]:
    """The items, one after the other."""
    yield from items
