"""A scoring's input as bytes: its parts, streamed or read here and there, and never of two versions."""

from collections.abc import Iterator
from typing import Protocol

from settings import Settings
from storage.objects import Objects
from storage.scoring import Part, Spec


class Source(Protocol):
    """The input's parts. Every call raises InputChanged where a part is not what it was when it was accepted,
    ObjectsUnavailable."""

    @property
    def parts(self) -> tuple[Part, ...]: ...

    def stream(self, part: Part, start: int = 0) -> Iterator[bytes]:
        """The bytes of a part from `start` on, in pieces."""

    def read(self, part: Part, start: int, length: int) -> bytes:
        """Bytes of a part; fewer at its end."""


def open_source(spec: Spec, objects: Objects, settings: Settings) -> Source:
    """The input of `spec`. Raises InvalidInput for a part that this farm may not read; reads nothing yet."""
    raise NotImplementedError
