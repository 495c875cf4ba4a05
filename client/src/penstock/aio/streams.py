"""Files and iterables, for a client that may not block: what may is done in threads."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import BinaryIO, TypeVar

from penstock.streams import Body

T = TypeVar("T")


def content(body: Body) -> bytes | AsyncIterator[bytes]:
    """The body as the HTTP client takes it."""
    return body if isinstance(body, bytes) else read(body)


async def read(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(next, pieces, b""):
        yield piece


async def store(into: BinaryIO, chunk: bytes) -> None:
    """Write a piece to a file."""
    await asyncio.to_thread(into.write, chunk)


async def each(items: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
    """The items, one after the other."""
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
