"""`client.objects`: files and bytes that jobs refer to, streamed both ways."""

import mimetypes
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import quote

from penstock.errors import UnexpectedAnswer
from penstock.uploading import PARTS_FROM, PartedUpload, Progress

if TYPE_CHECKING:
    from penstock.transport import Transport

CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An upload; `{"object": stored.id}` as an input's value refers to it."""

    id: str
    bytes: int
    sha256: str | None = None


class Objects:
    """The uploads of this client's tenant."""

    def __init__(self, transport: "Transport") -> None:
        self._transport = transport

    def upload(
        self, source: bytes | str | Path, *, progress: Progress | None = None, part_bytes: int | None = None
    ) -> StoredObject:
        """Store bytes, or the file at a path, which is read in pieces; raises OSError if it cannot be::

            stored = client.objects.upload("measurements.parquet", progress=lambda sent: bar.update(sent))
            job = client.jobs.submit("reader", {"table": stored})

        A file of more than 64 MiB (or, if given, of more than `part_bytes`, 5 MiB at least) goes in parts: one that is
        lost is sent again alone, and the same call after an interruption sends only what is missing. `progress` is told
        the bytes of each piece that has gone. Raises InvalidInput where the file changes meanwhile.
        """
        if isinstance(source, bytes):
            kind, size = "application/octet-stream", len(source)
        else:
            kind, size = content_type(source), Path(source).stat().st_size
            if size > (part_bytes or PARTS_FROM):
                parted = PartedUpload(self._transport, Path(source), part_bytes=part_bytes, progress=progress)
                return StoredObject(*parted.run())
        answer = self._transport.send(
            "POST",
            "/v1/objects",
            headers={"Content-Type": kind, "Content-Length": str(size)},
            body=lambda: source if isinstance(source, bytes) else chunks(Path(source), progress),
        )
        data = answer.json()
        if not isinstance(data, dict) or "id" not in data:
            raise UnexpectedAnswer("the upload's answer has no id")
        return StoredObject(data["id"], data.get("bytes", size), data.get("sha256"))

    def download(self, object_id: str, path: str | Path) -> Path:
        """Write an object to `path`; what stood there is replaced only once all bytes have come."""
        target = Path(path)
        partial = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            with partial.open("wb") as file:
                self._transport.download(f"/v1/objects/{quote(object_id, safe='')}", file)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        return target


def content_type(path: str | Path) -> str:
    return mimetypes.guess_type(str(path))[0] or "application/octet-stream"


def chunks(path: Path, progress: Progress | None) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from read_chunks(file, progress or (lambda _: None))


def read_chunks(file: BinaryIO, progress: Progress) -> Iterator[bytes]:
    while chunk := file.read(CHUNK_BYTES):
        yield chunk
        progress(len(chunk))
