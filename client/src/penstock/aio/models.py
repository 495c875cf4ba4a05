"""`client.models`: what the farm can run.

Written by `python -m client.twin` from penstock.models: change that.
"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote

from penstock.errors import UnexpectedAnswer
from penstock.models import Model

if TYPE_CHECKING:
    from penstock.aio.transport import AsyncTransport


class AsyncModels:
    """The models that this client may use; changing them takes an admin key."""

    def __init__(self, transport: "AsyncTransport") -> None:
        self._transport = transport

    async def list(self) -> "list[Model]":
        page = (await self._transport.send("GET", "/v1/models")).json()
        if not isinstance(page, dict) or not isinstance(page.get("data"), list):
            raise UnexpectedAnswer("the answer is no list of models: is this address a Penstock gateway?")
        return [Model.parse(item) for item in page["data"]]

    async def get(self, name: str, version: str | None = None) -> Model:
        """One model; raises UnknownModel."""
        path = f"/versions/{quote(version, safe='')}" if version else ""
        return await self._send("GET", name, path)

    async def load(self, name: str, version: str) -> Model:
        """Serve a version whatever the policy says: the farm begins to within a second. Raises UnknownModel."""
        return await self._send("POST", name, f"/versions/{quote(version, safe='')}/load")

    async def unload(self, name: str, version: str) -> Model:
        """Serve a version no more: it runs what was accepted, and ends. Raises VersionConflict while it is used."""
        return await self._send("POST", name, f"/versions/{quote(version, safe='')}/unload")

    async def label(self, name: str, label: str, version: str) -> Model:
        """Point a label at a version; raises NotLoaded unless it is ready."""
        return await self._send("PUT", name, f"/labels/{quote(label, safe='')}", {"version": version})

    async def unlabel(self, name: str, label: str) -> Model:
        """Take a label away; raises NotFound where there is none."""
        return await self._send("DELETE", name, f"/labels/{quote(label, safe='')}")

    async def split(self, name: str, weights: Mapping[str, float]) -> Model:
        """Split the jobs that ask for no version between versions, or labels, by weight; none ends the split."""
        return await self._send("PUT", name, "/traffic", dict(weights))

    async def promote(self, name: str, version: str) -> Model:
        """Send every job that asks for no version to this one, or to the one a label means; raises NotLoaded."""
        return await self._send("POST", name, "/promote", {"version": version})

    async def rollback(self, name: str) -> Model:
        """Undo the last promotion; raises VersionConflict where there was none, NotLoaded where it cannot be."""
        # Not repeated when its answer is lost: a second one leads forth again.
        return await self._send("POST", name, "/rollback", repeatable=False)

    async def _send(self, method: str, name: str, path: str, body: object = None, *, repeatable: bool = True) -> Model:
        content = json.dumps(body).encode() if body is not None else None
        answer = await self._transport.send(
            method,
            f"/v1/models/{quote(name, safe='')}{path}",
            headers={"Content-Type": "application/json"} if content else None,
            body=(lambda: content) if content else None,
            repeatable=repeatable,
        )
        return Model.parse(answer.json())
