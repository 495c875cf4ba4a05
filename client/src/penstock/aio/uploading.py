"""Large files in parts: one that is lost is sent again alone, and after an interruption only what is missing.

Written by `python -m client.twin` from penstock.uploading: change that.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.aio.streams import blocking
from penstock.errors import AccessError, BadRequest, InvalidInput, NotThere, UnexpectedAnswer, Unreachable
from penstock.uploading import (
    JSON,
    STORE_PATIENCE_S,
    TRIES,
    Plan,
    Progress,
    forget,
    memory,
    path,
    read_part,
    remember,
    remembered,
    state,
)

if TYPE_CHECKING:
    from penstock.aio.transport import AsyncTransport


class AsyncPartedUpload:
    """One file on its way."""

    def __init__(
        self, transport: "AsyncTransport", path: Path, *, part_bytes: int | None, progress: Progress | None
    ) -> None:
        self._transport, self._path, self._part_bytes = transport, path.resolve(), part_bytes
        self._progress = progress or (lambda _: None)
        self._before = state(self._path)
        self._memory = memory(transport.url, self._path, self._before)
        #: False once the store turned out to be out of reach; None before it is known.
        self._direct: bool | None = None

    async def run(self) -> tuple[str, int, str]:
        """The object's id, bytes and SHA-256. Raises InvalidInput where the file changes meanwhile."""
        plan = await self._begin()
        whole, etags = hashlib.sha256(), dict[int, str]()
        with self._path.open("rb") as file:
            for number in range(1, plan.parts + 1):
                size = min(plan.part_bytes, plan.bytes - (number - 1) * plan.part_bytes)
                data, md5 = await blocking(read_part, file, size, whole)
                if len(data) < size:
                    break
                if plan.received.get(number) == md5.hex():
                    etags[number] = md5.hex()
                else:
                    etags[number] = await self._send(plan, number, data, md5)
                self._progress(len(data))
        if state(self._path) != self._before:
            await self._transport.send("DELETE", path(plan.id))
            forget(self._memory)
            raise InvalidInput(f"{self._path} was changed while it was uploaded")
        await self._complete(plan, etags)
        return plan.object_id, plan.bytes, whole.hexdigest()

    async def _begin(self) -> Plan:
        """The upload that an earlier call began, else a new one."""
        if (id := remembered(self._memory)) is not None:
            try:
                return Plan.parse((await self._transport.send("GET", path(id))).json())
            except (NotThere, UnexpectedAnswer):
                forget(self._memory)
        wish = {"bytes": self._before[0], **({"part_bytes": self._part_bytes} if self._part_bytes else {})}
        body = json.dumps(wish).encode()
        plan = Plan.parse((await self._transport.send("POST", "/v1/uploads", headers=JSON, body=lambda: body)).json())
        remember(self._memory, plan.id)
        return plan

    async def _send(self, plan: Plan, number: int, data: bytes, md5: bytes) -> str:
        """Store a part; the name under which the store knows its bytes."""
        for left in reversed(range(TRIES)):
            try:
                etag = await self._put(plan, number, data, md5)
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

    async def _put(self, plan: Plan, number: int, data: bytes, md5: bytes) -> str:
        own = path(plan.id, f"/part?number={number}")
        if self._direct is not False:
            target = (await self._transport.send("GET", own)).json()
            if not target.get("gateway", True):
                try:
                    return await self._put_to_store(str(target["url"]), data, md5)
                except Unreachable:
                    if self._direct:
                        raise
            self._direct = False
        answer = await self._transport.send("PUT", own, headers={"Content-Length": str(len(data))}, body=lambda: data)
        return str(answer.json().get("etag"))

    async def _put_to_store(self, url: str, data: bytes, md5: bytes) -> str:
        headers = {"Content-MD5": base64.b64encode(md5).decode()}
        patience_s = None if self._direct else STORE_PATIENCE_S
        answer = await self._transport.send("PUT", url, headers=headers, body=lambda: data, patience_s=patience_s)
        self._direct = True
        return answer.headers.get("ETag", "").strip('"')

    async def _complete(self, plan: Plan, etags: Mapping[int, str]) -> None:
        body = json.dumps({"parts": [{"number": number, "etag": etag} for number, etag in etags.items()]}).encode()
        await self._transport.send("POST", path(plan.id, "/complete"), headers=JSON, body=lambda: body)
        forget(self._memory)
