"""What a scoring reads: the objects that a client names, as they are now."""

import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from errors import InputChanged, InvalidInput, NotFound
from gateway.inputs import OBJECT_ID, upload_key
from gateway.parts import Parts
from gateway.scoring_wish import Format, ScoringWish, refusal
from storage.inputs import uploaded
from storage.objects import Objects
from storage.scoring import Part, Scoring

#: Objects of one scoring that are looked at at once.
LOOKS = 16
#: Bytes that tell a format.
HEAD = 4096
PARQUET_MAGIC, GZIP_MAGIC = b"PAR1", b"\x1f\x8b"
#: Endings of names to the format they tell, and those of what is compressed.
ENDINGS: dict[str, Format] = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip
COMPRESSED = (".gz", ".zst")


A = TypeVar("A")
B = TypeVar("B")


class Upload(NamedTuple):
    """One that a request names."""

    id: str
    #: Where it does.
    pointer: str


class ScoringInputs:
    """Finds what requests name. Methods raise ObjectsUnavailable."""

    def __init__(self, parts: Parts) -> None:
        self._objects, self._inputs, self._buckets = parts.objects, parts.inputs, parts.buckets
        self._most = parts.settings.max_object_bytes

    def parts(self, wish: ScoringWish, tenant: str) -> list[Part]:
        """The objects as they are now; raises InvalidInput for one that is not there, or may not be read."""
        if isinstance(wish.input, str):
            return [*self._buckets.parts(wish.input)]
        return together(lambda one: self._upload(one, tenant), uploads(wish))

    def _upload(self, one: Upload, tenant: str) -> Part:
        key = upload_key(tenant, one.id)
        try:
            found = uploaded(self._objects, key)
        except NotFound as error:
            raise missing(one) from error
        # Refused, and erased: it came past the gateway and is larger than any may be.
        if found.bytes > self._most and self._inputs.size(key) is None:
            raise missing(one)
        return found

    def format(self, wish: ScoringWish, parts: Sequence[Part]) -> Format:
        """What was said, or what the first object's name or bytes tell; raises InvalidInput where they tell nothing."""
        if wish.format is not None:
            return wish.format
        objects, key = self._open(parts[0])
        found = by_name(parts[0].uri) or by_bytes(head(objects, key))
        if found is None:
            raise refusal("#/format", "neither name nor first bytes of the input tell one: say jsonl, csv or parquet")
        return found

    def still_there(self, scoring: Scoring) -> None:
        """Raises InputChanged where an object of the input is not what it was."""
        together(self._unchanged, scoring.spec.input)

    def _unchanged(self, part: Part) -> None:
        objects, key = self._open(part)
        stat = objects.stat(key)
        if stat is None or stat.etag != part.etag:
            what = "is gone" if stat is None else "was changed"
            raise InputChanged(f"{key.rpartition('/')[2]} {what}: its rows cannot be run again")

    def _open(self, part: Part) -> tuple[Objects, str]:
        return self._buckets.open(part.uri) if part.uri.startswith("s3://") else (self._objects, part.uri)


def together(look: Callable[[A], B], wanted: Sequence[A]) -> list[B]:
    """What each look gives; raises what the first of them raises that does."""
    if len(wanted) == 1:
        return [look(wanted[0])]
    with ThreadPoolExecutor(LOOKS, "looks") as threads:
        return list(threads.map(look, wanted))


def uploads(wish: ScoringWish) -> list[Upload]:
    """What a request names of its tenant's uploads; raises InvalidInput for what is no id."""
    given = wish.input
    if isinstance(given, str):
        return []
    if given.object is not None:
        found = [Upload(given.object, "#/input/object")]
    else:
        found = [Upload(id, f"#/input/objects/{number}") for number, id in enumerate(given.objects or ())]
    for one in found:
        if not OBJECT_ID.fullmatch(one.id):
            raise missing(one)
    return found


def missing(one: Upload) -> InvalidInput:
    return refusal(one.pointer, f"names no object of yours: {one.id[:80]!r}")


def head(objects: Objects, key: str) -> bytes:
    source = objects.open(key, length=HEAD)
    try:
        return b"".join(source)
    finally:
        source.close()


def by_name(name: str) -> Format | None:
    name = name.lower()
    for ending in COMPRESSED:
        name = name.removesuffix(ending)
    return next((format for ending, format in ENDINGS.items() if name.endswith(ending)), None)


def by_bytes(head: bytes) -> Format | None:
    head = unpacked(head)
    if head.startswith(PARQUET_MAGIC):
        return "parquet"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"{"):
        return "jsonl"
    # A header that names columns: text, and no array or markup.
    first = text.partition(b"\n")[0]
    return "csv" if first and b"\0" not in head and not first.startswith((b"[", b"<")) else None


def unpacked(head: bytes) -> bytes:
    """The first bytes of what a gzip file holds, nothing of a broken one; others as they are."""
    if not head.startswith(GZIP_MAGIC):
        return head
    try:
        return zlib.decompressobj(wbits=31).decompress(head, HEAD)
    except zlib.error:
        return b""
