"""What a scoring reads: the objects that a client names, as they are now."""

from collections.abc import Sequence
from typing import NamedTuple

from errors import InputChanged, InvalidInput, NotFound
from gateway.inputs import OBJECT_ID, upload_key
from gateway.parts import Parts
from gateway.scoring_wish import Format, ScoringWish, refusal
from storage.inputs import uploaded
from storage.objects import Objects
from storage.scoring import Part, Scoring

#: Bytes that tell a format.
HEAD = 4096
PARQUET_MAGIC = b"PAR1"
#: Endings of names to the format they tell.
ENDINGS: dict[str, Format] = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip


class Upload(NamedTuple):
    """One that a request names."""

    id: str
    #: Where it does.
    pointer: str


class ScoringInputs:
    """Finds what requests name. Methods raise ObjectsUnavailable."""

    def __init__(self, parts: Parts) -> None:
        self._objects, self._inputs, self._buckets = parts.objects, parts.inputs, parts.buckets

    def parts(self, wish: ScoringWish, tenant: str) -> list[Part]:
        """The objects as they are now; raises InvalidInput for one that is not there, or may not be read."""
        if isinstance(wish.input, str):
            return [*self._buckets.parts(wish.input)]
        return [self._upload(one, tenant) for one in uploads(wish)]

    def _upload(self, one: Upload, tenant: str) -> Part:
        key = upload_key(tenant, one.id)
        try:
            # Refuses, and erases, one that came past the gateway and is larger than any may be.
            if self._inputs.size(key) is None:
                raise missing(one)
            return uploaded(self._objects, key)
        except NotFound as error:
            raise missing(one) from error

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
        for part in scoring.spec.input:
            objects, key = self._open(part)
            stat = objects.stat(key)
            if stat is None or stat.etag != part.etag:
                what = "is gone" if stat is None else "was changed"
                raise InputChanged(f"{key.rpartition('/')[2]} {what}: its rows cannot be run again")

    def _open(self, part: Part) -> tuple[Objects, str]:
        return self._buckets.open(part.uri) if part.uri.startswith("s3://") else (self._objects, part.uri)


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
    return next((format for ending, format in ENDINGS.items() if name.lower().endswith(ending)), None)


def by_bytes(head: bytes) -> Format | None:
    if head.startswith(PARQUET_MAGIC):
        return "parquet"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"{"):
        return "jsonl"
    # A header that names columns: text, and no array or markup.
    first = text.partition(b"\n")[0]
    return "csv" if first and b"\0" not in head and not first.startswith((b"[", b"<")) else None
