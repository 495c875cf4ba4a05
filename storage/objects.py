"""Large values and uploads: one interface, two sides (a folder, S3)."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import unquote, urlsplit

from errors import SettingsError
from storage.folder import Folder
from storage.multipart import Multipart
from storage.streams import Outgoing, Stat, Stored

__all__ = ["Objects", "Outgoing", "Stat", "Stored", "open_objects"]


class Objects(Protocol):
    """Bytes under `/`-separated keys. Safe to use from several threads.

    Every call raises ObjectsUnavailable when the store cannot be reached (within about four seconds), and
    InvalidInput for a key that is none. A key must not be the beginning of another's path (`a` and `a/b`).
    """

    def put(
        self, key: str, chunks: Iterable[bytes] | BinaryIO, *, max_bytes: int | None = None, digest: bool = True
    ) -> Stored:
        """Store a stream in constant memory, over what was there.

        Nothing is visible under `key` until all of it is stored, and nothing at all when the source raises or has
        more than `max_bytes` (PayloadTooLarge). Without `digest` its SHA-256 is not told, which takes as
        long as writing it to a folder does.
        """

    def open(self, key: str, *, start: int = 0, length: int | None = None, etag: str = "") -> Outgoing:
        """The bytes in pieces, from `start` on, `length` at most; raises NotFound at once.

        With `etag` those of that version alone: raises InputChanged where another one is there.
        """

    def read(self, key: str, max_bytes: int | None = None) -> bytes:
        """All the bytes; raises NotFound, or PayloadTooLarge for more than `max_bytes`."""

    def size(self, key: str) -> int | None:
        """Its length in bytes; None when it is not there."""

    def stat(self, key: str) -> Stat | None:
        """Its length and version; None when it is not there."""

    def delete(self, key: str) -> None:
        """Erase it if it is there."""

    def delete_prefix(self, prefix: str) -> None:
        """Erase everything whose key begins so."""

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Every key that begins so, in no order to rely on."""

    def url(self, key: str, expires_s: int, *, kind: str = "application/octet-stream", name: str = "") -> str | None:
        """An address anyone may GET the bytes from for `expires_s` seconds; None where the gateway must serve them.

        `kind` and `name`: the content type, and what a file made of it is called.
        """

    def put_url(self, key: str, expires_s: int, *, length: int | None = None) -> str | None:
        """An address anyone may PUT the bytes to for `expires_s` seconds; None where the gateway must take them.

        With `length` just so many bytes; else as many as the store takes. No address works for more than 15 minutes.
        """

    def multipart(self) -> Multipart:
        """Uploads in parts."""

    def ready(self) -> None:
        """Make the bucket or folder if it is missing; raises ObjectsUnavailable when the store cannot be used."""


def open_objects(url: str) -> Objects:
    """The store at `file:///folder` or `s3://key:secret@host:port/bucket?…`; raises SettingsError for another URL.

    Options of the latter: `secure=false` (http), `region=us-east-1`, `timeout_s=3` (seconds to wait for an answer),
    `public=https://host` (where clients reach the store: presigned URLs name it) or `public=none` (clients do not
    reach it: no presigned URLs, the gateway passes the bytes on).
    """
    parts = urlsplit(url)
    if parts.scheme == "file":
        return Folder(Path(unquote(parts.path)))
    if parts.scheme == "s3":
        # A leaf: an embedded gateway does not pay for the S3 client.
        from storage.s3 import S3
        from storage.s3server import parse

        return S3(parse(url))
    raise SettingsError(f"an object store's URL begins with file:// or s3://, not {parts.scheme}://")
