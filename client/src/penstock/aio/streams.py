"""Files and iterables, for a client that may not block: what may is done in threads."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from typing import ParamSpec, TypeVar

from penstock.streams import Body

T = TypeVar("T")
P = ParamSpec("P")


def content(body: Body) -> bytes | AsyncIterator[bytes]:
    """The body as the HTTP client takes it."""
    return body if isinstance(body, bytes) else read(body)


async def read(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(next, pieces, b""):
        yield piece


async def blocking(step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do what may take a while, in a thread: reading and writing files, hashing."""
    return await asyncio.to_thread(step, *args, **kwargs)


async def each(items: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
    """The items, one after the other."""
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
