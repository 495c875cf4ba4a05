"""Webhooks: is what came here from the farm (`verify`), and where the farm sends them (`client.webhooks`).

Written by `python -m client.twin` from penstock.webhooks: change that.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from penstock.errors import UnexpectedAnswer
from penstock.webhooks import Delivery, WebhookEndpoint, owner, path

if TYPE_CHECKING:
    from penstock.aio.transport import AsyncTransport


class AsyncWebhooks:
    """This tenant's webhook endpoints, and what became of what was sent."""

    def __init__(self, transport: "AsyncTransport") -> None:
        self._transport = transport

    async def create(
        self, url: str, *, events: Iterable[str] = ("job.completed",), description: str = ""
    ) -> WebhookEndpoint:
        """Report every job, or scoring, to `url`, as `events` say; raises InvalidInput.

        The answer's `secret` is not shown again.
        """
        wish = {"url": url, "events": list(events), "description": description}
        # Not repeated when its answer is lost: the secret would be lost with it, and a second endpoint made.
        return await self._one("POST", "", wish, repeatable=False)

    async def list(self) -> "list[WebhookEndpoint]":
        return [WebhookEndpoint.parse(item) for item in await self._all("GET", "/v1/webhooks")]

    async def get(self, id: str) -> WebhookEndpoint:
        """One endpoint; raises NotFound."""
        return await self._one("GET", path(id))

    async def change(
        self, id: str, *, url: str | None = None, events: Iterable[str] | None = None, description: str | None = None
    ) -> WebhookEndpoint:
        """Change what is given; raises NotFound or InvalidInput."""
        wish = {"url": url, "events": None if events is None else [*events], "description": description}
        return await self._one("PATCH", path(id), {name: value for name, value in wish.items() if value is not None})

    async def enable(self, id: str) -> WebhookEndpoint:
        return await self._one("POST", path(id) + "/enable")

    async def disable(self, id: str) -> WebhookEndpoint:
        """Report nothing more there, not even what is on its way."""
        return await self._one("POST", path(id) + "/disable")

    async def delete(self, id: str) -> None:
        """Forget an endpoint; raises NotFound."""
        await self._transport.send("DELETE", "/v1/webhooks" + path(id))

    async def rotate(self, id: str = "default", *, overlap_s: float | None = None) -> WebhookEndpoint:
        """Give an endpoint a new secret; the one before signs for `overlap_s` more seconds, a day by default.

        `default`: the secret for what goes to the URLs that jobs name.
        """
        return await self._one(
            "POST", path(id) + "/rotate", {} if overlap_s is None else {"overlap_s": overlap_s}, False
        )

    async def test(self, id: str) -> None:
        """Send a `ping` there; `deliveries` tells what came of it."""
        await self._all("POST", "/v1/webhooks" + path(id) + "/test")

    async def deliveries(self, id: str) -> Sequence[Delivery]:
        """Of a job or a scoring: what became of its webhooks. Of an endpoint: what is on its way there, and pings."""
        return [Delivery.parse(item) for item in await self._all("GET", owner(id) + "/deliveries")]

    async def redeliver(self, job_id: str, delivery: str | None = None) -> Sequence[Delivery]:
        """Send the webhooks of a job or a scoring once more, or one of them, under their ids; raises NotFound."""
        body = {} if delivery is None else {"delivery": delivery}
        found = await self._all("POST", owner(job_id) + "/redeliver", body)
        return [Delivery.parse(item) for item in found]

    async def _one(self, method: str, path: str, body: object = None, repeatable: bool = True) -> WebhookEndpoint:
        return WebhookEndpoint.parse(await self._send(method, "/v1/webhooks" + path, body, repeatable))

    async def _all(self, method: str, path: str, body: object = None) -> Sequence[Mapping[str, Any]]:
        page = await self._send(method, path, body)
        if not isinstance(page.get("data"), list):
            raise UnexpectedAnswer("the answer is no list: is this address a Penstock gateway?")
        return tuple(page["data"])

    async def _send(self, method: str, path: str, body: object = None, repeatable: bool = True) -> Mapping[str, Any]:
        content = json.dumps(body).encode() if body is not None else None
        answer = (
            await self._transport.send(
                method,
                path,
                headers={"Content-Type": "application/json"} if content else None,
                body=(lambda: content) if content else None,
                repeatable=repeatable,
            )
        ).json()
        if not isinstance(answer, dict):
            raise UnexpectedAnswer("the answer is no object: is this address a Penstock gateway?")
        return answer
