"""Objects that arrive in parts, in any order, each as often as it takes; a folder's and S3's in one interface.

An upload is begun, its parts are stored, and it is completed, which makes it an object; or it is given up.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from errors import InvalidInput

#: S3 takes no smaller part, the last one excepted, and no more of them.
SMALLEST_PART, MOST_PARTS = 5 * 2**20, 10_000


class Part(msgspec.Struct, frozen=True):
    """One part as it is stored."""

    #: The first is 1.
    number: int
    bytes: int
    #: MD5 of its bytes, hexadecimal; what else a store with keys of its own may say.
    etag: str


class Multipart(Protocol):
    """The uploads of an object store, beside its objects. Safe to use from several threads.

    Every call raises ObjectsUnavailable when the store cannot be reached, and NotFound for an upload that is over.
    """

    def begin(self, key: str) -> str:
        """Begin an upload of the object `key`; the upload's id."""

    def url(self, key: str, id: str, number: int, *, length: int, expires_s: int) -> str | None:
        """An address that takes one PUT of the part, of just `length` bytes; None where the gateway must take it."""

    def put(self, key: str, id: str, number: int, chunks: Iterable[bytes], *, offset: int, length: int) -> Part:
        """Store a part over what was there; raises InvalidInput unless it has `length` bytes.

        `offset`: where in the object its first byte stands.
        """

    def parts(self, key: str, id: str) -> list[Part]:
        """The parts that are there, by number."""

    def complete(self, key: str, id: str, parts: Sequence[Part]) -> None:
        """Make the object from just these parts; raises InvalidInput where another is stored under a number."""

    def abandon(self, key: str) -> None:
        """Give up every upload of the object `key`, and erase its parts."""


def require(parts: Sequence[Part], stored: Sequence[Part]) -> None:
    """Raises InvalidInput unless each of the parts is stored just so."""
    there = {part.number: part for part in stored}
    if missing := [part.number for part in parts if there.get(part.number) != part]:
        raise InvalidInput(f"part {missing[0]} is not stored as it was sent")
