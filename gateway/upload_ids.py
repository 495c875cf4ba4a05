"""What an upload in parts is, written into its id: the farm's own signature makes it as good as a record."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from itsdangerous import BadSignature, URLSafeSerializer

from errors import InvalidInput, NotFound
from gateway.inputs import upload_key
from storage.access import Access
from storage.clock import wall_ms
from storage.multipart import MOST_PARTS, SMALLEST_PART

MIB = 2**20
#: Bytes of a part where the client does not say: a retry costs seconds, and a request still stands for a lot.
PART_BYTES = 16 * MIB
#: The largest that a client may ask for.
LARGEST_PART = 512 * MIB
#: Seconds that an upload may take from its first part to its last. A bucket's own rule counts in days.
UPLOAD_TTL_S = 86400
#: Letters of an id that are looked at.
LONGEST_ID = 1024


@dataclass(frozen=True, kw_only=True)
class Upload:
    """An object that arrives in parts."""

    tenant: str
    #: Of the object to be.
    id: str
    #: What the object store calls the upload.
    inner: str
    bytes: int
    part_bytes: int
    expires_ms: int

    @property
    def key(self) -> str:
        return upload_key(self.tenant, self.id)

    @property
    def count(self) -> int:
        """Parts that make up the object."""
        return max(1, -(-self.bytes // self.part_bytes))

    def offset(self, number: int) -> int:
        return (number - 1) * self.part_bytes

    def length(self, number: int) -> int:
        """Bytes of a part; raises NotFound where there is none of that number."""
        if not 1 <= number <= self.count:
            raise NotFound(f"this upload has the parts 1 to {self.count}, and no part {number}")
        return min(self.part_bytes, self.bytes - self.offset(number))


class UploadIds:
    """Writes and reads the ids."""

    def __init__(self, access: Access, *, clock_ms: Callable[[], int] = wall_ms) -> None:
        self._access = access
        self._clock_ms = clock_ms

    @cached_property
    def _serializer(self) -> URLSafeSerializer:
        return URLSafeSerializer(self._access.secret(), salt="penstock.uploads")

    def write(self, upload: Upload) -> str:
        told = [upload.tenant, upload.id, upload.inner, upload.bytes, upload.part_bytes, upload.expires_ms]
        return str(self._serializer.dumps(told))

    def read(self, id: str, *, tenant: str) -> Upload:
        """The tenant's upload; raises NotFound for what is none, another tenant's, or too old."""
        try:
            owner, object_id, inner, size, part_bytes, expires_ms = self._serializer.loads(id[:LONGEST_ID])
        except (BadSignature, ValueError) as error:
            raise NotFound(f"no upload {id[:40]!r}") from error
        if owner != tenant:
            raise NotFound(f"no upload {id[:40]!r}")
        if self._clock_ms() > expires_ms:
            raise NotFound("this upload was not completed in time; begin another")
        return Upload(tenant=owner, id=object_id, inner=inner, bytes=size, part_bytes=part_bytes, expires_ms=expires_ms)


def part_size(size: int, asked: int | None) -> int:
    """Bytes of each part but the last; raises InvalidInput where the parts would be too many."""
    least = -(-size // MOST_PARTS)
    if asked is None:
        return max(PART_BYTES, -(-least // MIB) * MIB)
    if asked < least:
        raise InvalidInput(f"{size} bytes in parts of {asked} are more than {MOST_PARTS} parts; ask for larger ones")
    return asked


__all__ = ["LARGEST_PART", "SMALLEST_PART", "UPLOAD_TTL_S", "Upload", "UploadIds", "part_size"]
