"""Where a job's inputs lie: small ones in the message, large ones in the object store.

Objects of a tenant: `<tenant>/objects/<obj id>` are uploads, `<tenant>/jobs/<job id>/…` belong to a job and go
with it.
"""

import logging
import re
from collections.abc import Callable, Iterable, Mapping

import msgspec

from errors import Fault, InvalidInput, ObjectsUnavailable
from gateway.json_bodies import escaped
from gateway.submission import Input
from storage.objects import Objects, Stored

log = logging.getLogger(__name__)

#: Bytes of JSON that an input may have inside a message.
INLINE_LIMIT = 64 * 1024
OBJECT_ID = re.compile(r"obj_[0-9A-HJKMNP-TV-Z]{26}")

_encode = msgspec.json.Encoder().encode


def upload_key(tenant: str, id: str) -> str:
    return f"{tenant}/objects/{id}"


def job_prefix(tenant: str, job: str) -> str:
    return f"{tenant}/jobs/{job}/"


def input_key(tenant: str, job: str, label: int | str) -> str:
    """Where one input of the job lies; labelled by number, as names are the client's."""
    return f"{job_prefix(tenant, job)}in/{label}"


class Inputs:
    """Moves inputs to the object store and resolves references to it."""

    def __init__(self, objects: Objects, *, max_bytes: int, announce: Callable[[str], None]) -> None:
        """`announce` is told of a job's prefix before anything is put there: no crash leaves what has no job."""
        self._objects = objects
        self._max_bytes = max_bytes
        self._announce = announce

    def size(self, key: str) -> int | None:
        """Bytes of an upload; None where there is none, or one so large that it is erased.

        A store that takes bytes by a presigned URL does not know how large an upload may be.
        """
        size = self._objects.size(key)
        if size is None or size <= self._max_bytes or "/objects/" not in key:
            return size
        log.warning("an upload beyond the limit is erased", extra={"key": key, "bytes": size})
        self._objects.delete(key)
        return None

    def inline(self, inputs: Mapping[str, Input]) -> msgspec.Raw | None:
        """The inputs' JSON as the message carries it, where the object store has no part in it; else None."""
        for given in inputs.values():
            if not given.stored and (
                (type(given.value) is dict and "object" in given.value) or len(memoryview(given.raw)) > INLINE_LIMIT
            ):
                return None
        return msgspec.Raw(_encode({name: msgspec.Raw(given.raw) for name, given in inputs.items()}))

    def settle(self, inputs: Mapping[str, Input], *, tenant: str, job: str, moved: list[str]) -> msgspec.Raw:
        """The inputs' JSON as the message carries it; the key of each object made is added to `moved`.

        Raises InvalidInput for a reference to nothing, ObjectsUnavailable.
        """
        settled: dict[str, msgspec.Raw] = {}
        for index, (name, given) in enumerate(inputs.items()):
            raw = given.raw
            if not given.stored:
                if type(given.value) is dict and "object" in given.value:
                    raw = self._resolve(name, given.value, tenant)
                elif len(memoryview(raw)) > INLINE_LIMIT:
                    raw = self._move(input_key(tenant, job, index), raw, moved)
            settled[name] = msgspec.Raw(raw)
        return msgspec.Raw(_encode(settled))

    def store(self, key: str, chunks: Iterable[bytes], *, max_bytes: int) -> Stored:
        """Store a file as it arrives; raises ObjectsUnavailable, StoreUnavailable, or what reading `chunks` raises."""
        self._announce(key.rpartition("in/")[0])
        return self._objects.put(key, chunks, max_bytes=max_bytes)

    def erase(self, moved: list[str]) -> None:
        """Take back what was moved for a job that was not accepted after all; a failure is logged."""
        for key in moved:
            try:
                self._objects.delete(key)
            except ObjectsUnavailable as error:
                log.warning("an input of a refused job stays", extra={"key": key, "reason": error.detail})

    def _move(self, key: str, raw: bytes | msgspec.Raw, moved: list[str]) -> bytes:
        moved.append(key)
        self.store(key, [bytes(raw)], max_bytes=len(memoryview(raw)))
        return reference(key, "json")

    def _resolve(self, name: str, value: dict[str, object], tenant: str) -> bytes:
        id = str(value["object"])
        key = upload_key(tenant, id)
        if not OBJECT_ID.fullmatch(id) or self.size(key) is None:
            pointer = f"#/inputs/{escaped(name)}/object"
            raise InvalidInput(
                f"{pointer} names no object of yours: {id[:80]!r}", faults=[Fault(pointer, "names no object of yours")]
            )
        return reference(key, str(value.get("as", "bytes")))


def reference(key: str, kind: str) -> bytes:
    return _encode({"object": key, "as": kind})
