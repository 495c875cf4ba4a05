"""Uploads in parts, for an S3 server: its own multipart uploads, step by step."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import urllib3
from minio import Minio
from minio.datatypes import Part as S3Part
from minio.error import MinioException, S3Error

from errors import InvalidInput, NotFound, ObjectsUnavailable
from storage import presigning
from storage.multipart import Part, require
from storage.objectkeys import check_key
from storage.s3server import CONNECT_S, Server
from storage.s3server import client as connected

#: What S3 says of parts that are not those that were stored.
WRONG_PARTS = frozenset({"InvalidPart", "InvalidPartOrder", "EntityTooSmall", "MalformedXML"})
#: Seconds that the store may take to put parts together, and for each step in taking one.
COMPLETING_S, SENDING_S = 60.0, 30.0


class S3Parts:
    """Implements `storage.multipart.Multipart`. (The `minio` client has these steps; it offers only the whole.)"""

    def __init__(self, server: Server, client: Minio) -> None:
        self._server, self._bucket, self._client = server, server.bucket, client
        self._patient = connected(replace(server, timeout_s=COMPLETING_S), server.host, secure=server.secure)
        timeout = urllib3.Timeout(connect=CONNECT_S, read=SENDING_S)
        self._pool = urllib3.PoolManager(timeout=timeout, retries=False)

    def begin(self, key: str) -> str:
        check_key(key)
        with translated():
            return str(self._client._create_multipart_upload(self._bucket, key, {}))

    def url(self, key: str, id: str, number: int, *, length: int, expires_s: int) -> str | None:
        return presigning.put_url(self._server, key, length=length, expires_s=expires_s, query=asked(id, number))

    def put(self, key: str, id: str, number: int, chunks: Iterable[bytes], *, offset: int, length: int) -> Part:
        address = presigning.put_url(
            self._server, key, length=length, expires_s=60, query=asked(id, number), inside=True
        )
        with translated():
            answer = self._pool.request(
                "PUT", str(address), body=counted(chunks, number, length), headers={"Content-Length": str(length)}
            )
        if answer.status == 404:
            raise NotFound("this upload is over")
        if answer.status != 200:
            raise ObjectsUnavailable(f"the object store answered {answer.status} to a part")
        return Part(number, length, answer.headers.get("ETag", "").strip('"'))

    def parts(self, key: str, id: str) -> list[Part]:
        found: list[Part] = []
        after = ""
        while True:
            with translated():
                page = self._client._list_parts(self._bucket, key, id, part_number_marker=after or None)
            found += [Part(one.part_number, int(one.size or 0), one.etag.strip('"')) for one in page.parts]
            if not page.is_truncated:
                return found
            after = str(page.next_part_number_marker)

    def complete(self, key: str, id: str, parts: Sequence[Part]) -> None:
        # Some servers answer for an upload that is over as if they were out of order.
        require(parts, self.parts(key, id))
        with translated():
            self._patient._complete_multipart_upload(
                self._bucket, key, id, [S3Part(part.number, part.etag) for part in parts]
            )

    def abandon(self, key: str) -> None:
        with translated():
            page = self._client._list_multipart_uploads(self._bucket, prefix=key)
            for one in page.uploads:
                if one.object_name == key:
                    self._client._abort_multipart_upload(self._bucket, key, str(one.upload_id))


def asked(id: str, number: int) -> dict[str, str]:
    return {"partNumber": str(number), "uploadId": id}


def counted(chunks: Iterable[bytes], number: int, length: int) -> Iterator[bytes]:
    """The pieces of a part; raises InvalidInput where they are more or less than they should be."""
    count = 0
    for chunk in chunks:
        count += len(chunk)
        if count > length:
            break
        yield chunk
    if count != length:
        raise InvalidInput(f"part {number} has {length} bytes, not {'more' if count > length else count}")


@contextmanager
def translated() -> Iterator[None]:
    """The S3 client's errors as ours, the cause kept."""
    try:
        yield
    except S3Error as error:
        if error.code in ("NoSuchUpload", "NoSuchKey"):
            raise NotFound("this upload is over") from error
        if error.code in WRONG_PARTS:
            raise InvalidInput(f"the parts are not stored as they were sent ({error.code})") from error
        raise ObjectsUnavailable(f"the object store refused: {error.code}, {error.message}") from error
    except (MinioException, urllib3.exceptions.HTTPError) as error:
        raise ObjectsUnavailable(f"the object store cannot be reached: {error}") from error
