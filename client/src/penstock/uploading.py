"""Large files in parts: one that is lost is sent again alone, and after an interruption only what is missing."""

import base64
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import quote

from penstock.errors import AccessError, BadRequest, InvalidInput, NotThere, UnexpectedAnswer, Unreachable
from penstock.streams import blocking

if TYPE_CHECKING:
    from penstock.transport import Transport

#: Larger files go in parts.
PARTS_FROM = 64 * 2**20
#: How often a part is sent whose address is refused or whose bytes arrive changed.
TRIES = 3
#: Seconds for which a store that never answered is tried before the gateway takes its place.
STORE_PATIENCE_S = 3.0
JSON = {"Content-Type": "application/json"}
#: Told the bytes that have arrived.
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """An upload as the gateway describes it."""

    id: str
    object_id: str
    bytes: int
    part_bytes: int
    parts: int
    #: Parts that are stored: number to MD5.
    received: Mapping[int, str]

    @classmethod
    def parse(cls, data: Any) -> "Plan":
        try:
            received = {int(part["number"]): str(part["etag"]) for part in data["received"]}
            size, part_bytes, parts = (int(data[name]) for name in ("bytes", "part_bytes", "parts"))
            return cls(str(data["id"]), str(data["object_id"]), size, part_bytes, parts, received)
        except (KeyError, TypeError, ValueError) as error:
            raise UnexpectedAnswer("the answer is no upload: is this address a Penstock gateway?") from error


class PartedUpload:
    """One file on its way."""

    def __init__(
        self, transport: "Transport", path: Path, *, part_bytes: int | None, progress: Progress | None
    ) -> None:
        self._transport, self._path, self._part_bytes = transport, path.resolve(), part_bytes
        self._progress = progress or (lambda _: None)
        self._before = state(self._path)
        self._memory = memory(transport.url, self._path, self._before)
        #: False once the store turned out to be out of reach; None before it is known.
        self._direct: bool | None = None

    def run(self) -> tuple[str, int, str]:
        """The object's id, bytes and SHA-256. Raises InvalidInput where the file changes meanwhile."""
        plan = self._begin()
        whole, etags = hashlib.sha256(), dict[int, str]()
        with self._path.open("rb") as file:
            for number in range(1, plan.parts + 1):
                size = min(plan.part_bytes, plan.bytes - (number - 1) * plan.part_bytes)
                data, md5 = blocking(read_part, file, size, whole)
                if len(data) < size:
                    break
                if plan.received.get(number) == md5.hex():
                    etags[number] = md5.hex()
                else:
                    etags[number] = self._send(plan, number, data, md5)
                self._progress(len(data))
        if state(self._path) != self._before:
            self._transport.send("DELETE", path(plan.id))
            forget(self._memory)
            raise InvalidInput(f"{self._path} was changed while it was uploaded")
        self._complete(plan, etags)
        return plan.object_id, plan.bytes, whole.hexdigest()

    def _begin(self) -> Plan:
        """The upload that an earlier call began, else a new one."""
        if (id := remembered(self._memory)) is not None:
            try:
                return Plan.parse(self._transport.send("GET", path(id)).json())
            except (NotThere, UnexpectedAnswer):
                forget(self._memory)
        wish = {"bytes": self._before[0], **({"part_bytes": self._part_bytes} if self._part_bytes else {})}
        body = json.dumps(wish).encode()
        plan = Plan.parse(self._transport.send("POST", "/v1/uploads", headers=JSON, body=lambda: body).json())
        remember(self._memory, plan.id)
        return plan

    def _send(self, plan: Plan, number: int, data: bytes, md5: bytes) -> str:
        """Store a part; the name under which the store knows its bytes."""
        for left in reversed(range(TRIES)):
            try:
                etag = self._put(plan, number, data, md5)
            except (AccessError, BadRequest):
                # Its time is over, or the store says that these are not the bytes that were sent.
                if not left or self._direct is False:
                    raise
                self._direct = bool(self._direct)
                continue
            # A store that encrypts has names of its own; it checked the bytes by Content-MD5.
            if etag == md5.hex() or self._direct:
                return etag
        raise UnexpectedAnswer(f"part {number} arrives changed at the gateway")

    def _put(self, plan: Plan, number: int, data: bytes, md5: bytes) -> str:
        own = path(plan.id, f"/part?number={number}")
        if self._direct is not False:
            target = self._transport.send("GET", own).json()
            if not target.get("gateway", True):
                try:
                    return self._put_to_store(str(target["url"]), data, md5)
                except Unreachable:
                    if self._direct:
                        raise
            self._direct = False
        answer = self._transport.send("PUT", own, headers={"Content-Length": str(len(data))}, body=lambda: data)
        return str(answer.json().get("etag"))

    def _put_to_store(self, url: str, data: bytes, md5: bytes) -> str:
        headers = {"Content-MD5": base64.b64encode(md5).decode()}
        patience_s = None if self._direct else STORE_PATIENCE_S
        answer = self._transport.send("PUT", url, headers=headers, body=lambda: data, patience_s=patience_s)
        self._direct = True
        return answer.headers.get("ETag", "").strip('"')

    def _complete(self, plan: Plan, etags: Mapping[int, str]) -> None:
        body = json.dumps({"parts": [{"number": number, "etag": etag} for number, etag in etags.items()]}).encode()
        self._transport.send("POST", path(plan.id, "/complete"), headers=JSON, body=lambda: body)
        forget(self._memory)


def path(id: str, action: str = "") -> str:
    return f"/v1/uploads/{quote(id, safe='')}{action}"


def read_part(file: BinaryIO, size: int, whole: Any) -> tuple[bytes, bytes]:
    """The next part and its MD5; `whole` takes it in."""
    data = file.read(size)
    whole.update(data)
    return data, hashlib.md5(data, usedforsecurity=False).digest()


def state(path: Path) -> tuple[int, int]:
    """What tells whether a file is still the same: its bytes, and when it was changed."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def memory(url: str, path: Path, state: tuple[int, int]) -> Path:
    """Where the upload of a file is remembered: in the user's cache, named for the farm and the file as it is."""
    name = hashlib.sha256(repr((url, str(path), state)).encode()).hexdigest()
    home = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or Path.home() / ".cache"
    return Path(home) / "penstock" / "uploads" / name


def remembered(memory: Path) -> str | None:
    try:
        return memory.read_text().strip() or None
    except (OSError, ValueError):
        return None


def remember(memory: Path, id: str) -> None:
    # Without a cache an interrupted upload begins anew; this one goes on.
    with suppress(OSError):
        memory.parent.mkdir(parents=True, exist_ok=True)
        memory.write_text(id)


def forget(memory: Path) -> None:
    with suppress(OSError):
        memory.unlink()
