"""The object store as a bucket of an S3 server, through the `minio` client."""

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import BinaryIO, cast

import urllib3
from minio.deleteobjects import DeleteObject
from minio.error import MinioException, S3Error

from errors import InputChanged, NotFound, ObjectsUnavailable
from storage import presigning
from storage.multipart_s3 import S3Parts
from storage.objectkeys import check_key, check_prefix
from storage.s3server import Server, client, signer
from storage.streams import Incoming, Outgoing, Stat, Stored, disposition
from storage.tidying import abort_unfinished_uploads

#: An upload of unknown length goes in parts of this many bytes, the least that S3 takes. The client holds about six
#: of them in memory; S3 takes 10,000 parts, so that an object may have 52 GB.
PART_BYTES = 5 * 2**20
#: The longest life of a presigned URL: whoever finds one in a log should find it void.
MAX_EXPIRES_S = 15 * 60
ABSENT = frozenset({"NoSuchKey", "NoSuchBucket", "NoSuchObject"})


class S3:
    """Implements `storage.objects.Objects`."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._bucket, self._region = server.bucket, server.region
        self._client = client(server, server.host, secure=server.secure)
        self._signer = signer(server, self._client)
        self._parts = S3Parts(server, self._client)
        self._made = False
        self._making = threading.Lock()

    def put(
        self, key: str, chunks: Iterable[bytes] | BinaryIO, *, max_bytes: int | None = None, digest: bool = True
    ) -> Stored:
        check_key(key)
        if not self._made:
            self.ready()
        incoming = Incoming(chunks, max_bytes=max_bytes, digest=digest)
        with translated():
            self._client.put_object(self._bucket, key, cast(BinaryIO, incoming), -1, part_size=PART_BYTES)
        return incoming.stored

    def open(self, key: str, *, start: int = 0, length: int | None = None, etag: str = "") -> Outgoing:
        check_key(key)
        if length == 0:
            return Outgoing(lambda size: b"", lambda: None)
        # A whole answer is of one version, so that asking for it once is enough.
        headers: dict[str, str | list[str] | tuple[str]] = {"If-Match": f'"{etag}"'} if etag else {}
        with translated(key):
            answer = self._client.get_object(
                self._bucket, key, offset=start, length=length or 0, request_headers=headers
            )

        def read(size: int) -> bytes:
            with translated(key):
                return bytes(answer.read(size))

        def close() -> None:
            answer.close()
            answer.release_conn()

        return Outgoing(read, close)

    def read(self, key: str, max_bytes: int | None = None) -> bytes:
        return self.open(key).whole(max_bytes)

    def size(self, key: str) -> int | None:
        check_key(key)
        try:
            with translated(key):
                return int(self._client.stat_object(self._bucket, key).size or 0)
        except NotFound:
            return None

    def stat(self, key: str) -> Stat | None:
        check_key(key)
        try:
            with translated(key):
                found = self._client.stat_object(self._bucket, key)
        except NotFound:
            return None
        return Stat(int(found.size or 0), str(found.etag))

    def stats(self, prefix: str) -> Iterator[tuple[str, Stat]]:
        """Every key that begins so with its length and version, by key."""
        check_prefix(prefix)
        with translated(prefix):
            for found in self._client.list_objects(self._bucket, prefix=prefix, recursive=True):
                yield str(found.object_name), Stat(int(found.size or 0), str(found.etag).strip('"'))

    def delete(self, key: str) -> None:
        check_key(key)
        try:
            with translated(key):
                self._client.remove_object(self._bucket, key)
        except NotFound:
            return

    def delete_prefix(self, prefix: str) -> None:
        with translated():
            doomed = (DeleteObject(key) for key in self.keys(prefix))
            for failure in self._client.remove_objects(self._bucket, doomed):
                raise ObjectsUnavailable(f"{failure.name} could not be erased: {failure.message}")

    def keys(self, prefix: str = "") -> Iterator[str]:
        check_prefix(prefix)
        try:
            with translated(prefix):
                for found in self._client.list_objects(self._bucket, prefix=prefix, recursive=True):
                    yield str(found.object_name)
        except NotFound:
            return

    def url(self, key: str, expires_s: int, *, kind: str = "application/octet-stream", name: str = "") -> str | None:
        served = {"response-content-type": kind, "response-content-disposition": disposition(name)}
        return self._signed("GET", key, expires_s, served)

    def put_url(self, key: str, expires_s: int, *, length: int | None = None) -> str | None:
        if length is None:
            return self._signed("PUT", key, expires_s)
        check_key(key)
        return presigning.put_url(self._server, key, length=length, expires_s=min(expires_s, MAX_EXPIRES_S))

    def multipart(self) -> S3Parts:
        if not self._made:
            self.ready()
        return self._parts

    def ready(self) -> None:
        with self._making, translated():
            if not self._client.bucket_exists(self._bucket):
                self._make_bucket()
            if not self._made:
                abort_unfinished_uploads(self._client, self._bucket)
            self._made = True

    def _make_bucket(self) -> None:
        try:
            self._client.make_bucket(self._bucket, self._region)
        except S3Error as error:
            # Another process was faster.
            if error.code != "BucketAlreadyOwnedByYou":
                raise

    def _signed(self, method: str, key: str, expires_s: int, served: Mapping[str, str] | None = None) -> str | None:
        """`served`: how the store is to answer."""
        check_key(key)
        if self._signer is None:
            return None
        life = timedelta(seconds=min(expires_s, MAX_EXPIRES_S))
        headers: dict[str, str | list[str] | tuple[str]] = dict(served or {})
        return str(self._signer.get_presigned_url(method, self._bucket, key, expires=life, response_headers=headers))


@contextmanager
def translated(key: str | None = None) -> Iterator[None]:
    """The S3 client's errors as ours, the cause kept; what a source raises goes through."""
    try:
        yield
    except S3Error as error:
        if key is not None and error.code in ABSENT:
            raise NotFound(f"no object {key}") from error
        if error.code == "PreconditionFailed":
            raise InputChanged(f"object {key} is not what it was") from error
        raise ObjectsUnavailable(f"the object store refused: {error.code}, {error.message}") from error
    except (MinioException, urllib3.exceptions.HTTPError) as error:
        raise ObjectsUnavailable(f"the object store cannot be reached: {error}") from error
