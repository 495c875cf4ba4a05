"""Files and iterables, for a client that may block; `penstock.aio.streams` is the same for one that may not."""

from collections.abc import Callable, Iterable, Iterator
from typing import ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")

#: What is sent: bytes, or pieces as they are read.
Body = bytes | Iterator[bytes]


def content(body: Body) -> Body:
    """The body as the HTTP client takes it."""
    return body


def blocking(step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do what may take a while: reading and writing files, hashing."""
    return step(*args, **kwargs)


def each(items: Iterable[T]) -> Iterator[T]:
    """The items, one after the other."""
    yield from items
