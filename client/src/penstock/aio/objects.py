"""`client.objects`: files and bytes that jobs refer to, streamed both ways.

Written by `python -m client.twin` from penstock.objects: change that.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from penstock.aio.uploading import AsyncPartedUpload
from penstock.errors import UnexpectedAnswer
from penstock.objects import StoredObject, chunks, content_type
from penstock.uploading import PARTS_FROM, Progress

if TYPE_CHECKING:
    from penstock.aio.transport import AsyncTransport


class AsyncObjects:
    """The uploads of this client's tenant."""

    def __init__(self, transport: "AsyncTransport") -> None:
        self._transport = transport

    async def upload(
        self, source: bytes | str | Path, *, progress: Progress | None = None, part_bytes: int | None = None
    ) -> StoredObject:
        """Store bytes, or the file at a path, which is read in pieces; raises OSError if it cannot be::

            stored = await client.objects.upload("measurements.parquet", progress=lambda sent: bar.update(sent))
            job = await client.jobs.submit("reader", {"table": stored})

        A file of more than 64 MiB (or, if given, of more than `part_bytes`, 5 MiB at least) goes in parts: one that is
        lost is sent again alone, and the same call after an interruption sends only what is missing. `progress` is told
        the bytes of each piece that has gone. Raises InvalidInput where the file changes meanwhile.
        """
        if isinstance(source, bytes):
            kind, size = "application/octet-stream", len(source)
        else:
            kind, size = content_type(source), Path(source).stat().st_size
            if size > (part_bytes or PARTS_FROM):
                parted = AsyncPartedUpload(self._transport, Path(source), part_bytes=part_bytes, progress=progress)
                return StoredObject(*await parted.run())
        answer = await self._transport.send(
            "POST",
            "/v1/objects",
            headers={"Content-Type": kind, "Content-Length": str(size)},
            body=lambda: source if isinstance(source, bytes) else chunks(Path(source), progress),
        )
        data = answer.json()
        if not isinstance(data, dict) or "id" not in data:
            raise UnexpectedAnswer("the upload's answer has no id")
        return StoredObject(data["id"], data.get("bytes", size), data.get("sha256"))

    async def download(self, object_id: str, path: str | Path) -> Path:
        """Write an object to `path`; what stood there is replaced only once all bytes have come."""
        target = Path(path)
        partial = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            with partial.open("wb") as file:
                await self._transport.download(f"/v1/objects/{quote(object_id, safe='')}", file)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        return target
