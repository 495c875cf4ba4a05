"""A scoring's input as bytes: its parts, streamed or read here and there, and never of two versions."""

import io
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from errors import InputChanged, InvalidInput, NotFound
from settings import Settings
from storage.inputs import Buckets
from storage.objects import Objects
from storage.scoring import Part, Spec

#: Bytes asked for at once when a part is streamed. Each is a request of its own: who reads rows slowly, because the
#: farm is busy, holds no connection meanwhile.
PIECE_BYTES = 4 * 2**20
#: The first bytes of what is compressed, and what pyarrow calls it.
COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}


class Source:
    """The input's parts. Every call raises InputChanged where a part is not what it was when it was accepted,
    ObjectsUnavailable."""

    def __init__(self, parts: tuple[Part, ...], places: dict[str, tuple[Objects, str]]) -> None:
        self.parts = parts
        self._places = places

    def read(self, part: Part, start: int, length: int) -> bytes:
        """Bytes of a part; fewer at its end."""
        length = min(length, part.bytes - start)
        if length <= 0:
            return b""
        objects, key = self._places[part.uri]
        try:
            data = objects.open(key, start=start, length=length, etag=part.etag).whole(None)
        except NotFound as error:
            raise InputChanged(f"{self.name(part)} is gone") from error
        if len(data) != length:
            raise InputChanged(f"{self.name(part)} became shorter")
        return data

    def stream(self, part: Part, start: int = 0) -> Iterator[bytes]:
        """The bytes of a part from `start` on, in pieces."""
        for at in range(start, part.bytes, PIECE_BYTES):
            yield self.read(part, at, PIECE_BYTES)

    def text(self, part: Part) -> Iterator[bytes]:
        """The bytes of a part in pieces, those of gzip and Zstandard unpacked; raises InvalidInput for broken ones."""
        codec = next((name for magic, name in COMPRESSED.items() if self.read(part, 0, len(magic)) == magic), "")
        if not codec:
            yield from self.stream(part)
            return
        with broken_as(f"{self.name(part)} is no whole {codec} file"):
            unpacked = pa.CompressedInputStream(pa.PythonFile(Ranged(self, part), "r"), codec)
            while piece := unpacked.read(PIECE_BYTES):
                yield piece

    def name(self, part: Part) -> str:
        """What a user knows the part as."""
        return part.uri if part.uri.startswith("s3://") else part.uri.rpartition("/")[2]

    def place(self, part: Part) -> str:
        """Where something is, at the beginning of a message about it; nothing where there is one part alone."""
        return f"{self.name(part)}: " if len(self.parts) > 1 else ""


def open_source(spec: Spec, objects: Objects, settings: Settings) -> Source:
    """The input of `spec`. Raises InvalidInput for a part that this farm may not read; reads nothing yet."""
    buckets = Buckets(settings)
    places: dict[str, tuple[Objects, str]] = {}
    for part in spec.input:
        if part.uri.startswith("s3://"):
            places[part.uri] = buckets.open(part.uri)
        elif part.uri.startswith(f"{spec.tenant}/"):
            places[part.uri] = (objects, part.uri)
        else:
            raise InvalidInput("the input is not the tenant's own")
    return Source(spec.input, places)


@contextmanager
def broken_as(what: str) -> Iterator[None]:
    """pyarrow's complaints about a file's bytes as InvalidInput; what the store raises goes through."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise InvalidInput(f"{what}: {str(error).splitlines()[0] if str(error) else type(error).__name__}") from error


class Ranged(io.RawIOBase):
    """A part as a file for pyarrow, each read a range."""

    def __init__(self, source: Source, part: Part) -> None:
        self._source, self._part = source, part
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(self._part, self._at, self._part.bytes if size < 0 else size)
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._part.bytes}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True
