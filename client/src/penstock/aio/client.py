"""The front door: one farm, one key, and what they offer.

Written by `python -m client.twin` from penstock.client: change that.
"""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Unpack

from penstock.aio.dead_letters import AsyncDeadLetters
from penstock.aio.jobs import AsyncJobs
from penstock.aio.models import AsyncModels
from penstock.aio.objects import AsyncObjects
from penstock.aio.queues import queues
from penstock.aio.scorings import AsyncScorings
from penstock.aio.webhooks import AsyncWebhooks
from penstock.client import DEFAULT_URL, RETRY_FOR_S, TIMEOUT_S, checked
from penstock.errors import StillRunning
from penstock.queues import Queues
from penstock.submission import Options
from penstock.version import __version__


class AsyncPenstock:
    """A client of one farm, for the tasks of one event loop; close it, or use it in an `async with` block.

    `url` and `api_key` default to PENSTOCK_URL (else http://127.0.0.1:8080) and PENSTOCK_API_KEY.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
        retry_for_s: float = RETRY_FOR_S,
    ) -> None:
        # httpx takes longer to import than everything else together: `penstock --version` goes without.
        from penstock.aio.transport import AsyncTransport

        self.url = checked(url or os.environ.get("PENSTOCK_URL") or DEFAULT_URL)
        key = api_key or os.environ.get("PENSTOCK_API_KEY")
        self._transport = AsyncTransport(
            self.url, key, user_agent=f"penstock/{__version__}", timeout_s=timeout_s, retry_for_s=retry_for_s
        )
        self.objects = AsyncObjects(self._transport)
        self.models = AsyncModels(self._transport)
        self.dead_letters = AsyncDeadLetters(self._transport)
        self.webhooks = AsyncWebhooks(self._transport)
        self.jobs = AsyncJobs(self._transport, self._upload)
        self.scorings = AsyncScorings(self._transport, self.objects)

    async def run(
        self, model: str, inputs: Mapping[str, Any], *, wait_s: float = math.inf, **options: Unpack[Options]
    ) -> dict[str, Any]:
        """Submit, wait and return the outputs.

        `options` are those of `jobs.submit`. Raises the job's failure, or StillRunning after
        `wait_s` seconds; the job goes on then.
        """
        job = await self.jobs.submit(model, inputs, wait_s=wait_s, **options)
        if not job.done:
            raise StillRunning(f"{job.id} is {job.status} after {wait_s:g} s")
        job.raise_for_failure()
        return await self.jobs.result(job) if job.outputs is None else job.outputs

    async def queues(self) -> Queues:
        """What waits, model by model, and how long that will take."""
        return await queues(self._transport)

    async def refused_messages(self, *, limit: int = 100) -> list[dict[str, Any]]:
        """What was pushed to the broker and is no job, the newest first; takes an admin key."""
        found = (await self._transport.send("GET", "/v1/refused-messages", query={"limit": limit})).json()
        return [*found.get("data", ())]

    async def close(self) -> None:
        """Close the connections; the client is of no use afterwards."""
        await self._transport.close()

    async def __aenter__(self) -> "AsyncPenstock":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _upload(self, source: bytes | Path) -> str:
        return (await self.objects.upload(source)).id
