"""`client.dead_letters`: jobs that failed, and their way back to the queue.

Written by `python -m client.twin` from penstock.dead_letters: change that.
"""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from penstock.dead_letters import LOOK_S, DeadLetter, Replay, ReplayPlan, chosen, path, selected
from penstock.errors import StillRunning, UnexpectedAnswer
from penstock.job import known

if TYPE_CHECKING:
    from penstock.aio.transport import AsyncTransport


class AsyncDeadLetters:
    """The failed jobs of this client's tenant."""

    def __init__(self, transport: "AsyncTransport") -> None:
        self._transport = transport

    async def list(
        self,
        *,
        model: str | None = None,
        version: str | None = None,
        code: str | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        metadata: Mapping[str, str] | None = None,
        page_size: int = 100,
    ) -> AsyncIterator[DeadLetter]:
        """All that match, the last one first; further pages are asked for as they are reached."""
        wanted = selected(model=model, version=version, code=code, since=since, until=until)
        query: dict[str, str | int] = {"limit": page_size, **wanted}
        query |= {f"metadata.{key}": value for key, value in (metadata or {}).items()}
        while True:
            page = (await self._transport.send("GET", "/v1/dead-letters", query=query)).json()
            if not isinstance(page, dict) or not isinstance(page.get("data"), list):
                raise UnexpectedAnswer("the answer is no list: is this address a Penstock gateway?")
            for yielded in (DeadLetter.parse(item) for item in page["data"]):
                yield yielded
            if not (cursor := page.get("next_cursor")):
                return
            query["cursor"] = cursor

    async def plan(
        self,
        *,
        ids: Sequence[str] = (),
        model: str | None = None,
        version: str | None = None,
        code: str | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        metadata: Mapping[str, str] | None = None,
        all: bool = False,
    ) -> ReplayPlan:
        """How many a replay would send back to the queue, and a few of them; changes nothing."""
        wanted = selected(model=model, version=version, code=code, since=since, until=until)
        data = await self._ask({**chosen(wanted, ids, metadata, all), "dry_run": True})
        sample = tuple(DeadLetter.parse(item) for item in data.get("sample", ()))
        return ReplayPlan(**known(ReplayPlan, data) | {"sample": sample, "raw": data})

    async def replay(
        self,
        *,
        ids: Sequence[str] = (),
        model: str | None = None,
        version: str | None = None,
        code: str | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        metadata: Mapping[str, str] | None = None,
        all: bool = False,
        rate: float | None = None,
    ) -> Replay:
        """Send jobs back to the queue, oldest first, `rate` a second: by ids, by a filter, or `all`.

        Each keeps its id. Returns at once; `wait` follows it.
        """
        wanted = selected(model=model, version=version, code=code, since=since, until=until)
        return Replay.parse(await self._ask({**chosen(wanted, ids, metadata, all), **({"rate": rate} if rate else {})}))

    async def get_replay(self, replay: Replay | str) -> Replay:
        """How far it is; raises NotFound."""
        return Replay.parse((await self._transport.send("GET", path(replay))).json())

    async def cancel_replay(self, replay: Replay | str) -> Replay:
        """End it; what is queued again stays queued."""
        return Replay.parse((await self._transport.send("POST", path(replay) + "/cancel")).json())

    async def watch(self, replay: Replay | str) -> AsyncIterator[Replay]:
        """The replay as it goes on, again and again until it has ended."""
        while True:
            found = await self.get_replay(replay)
            yield found
            if found.done:
                return
            await self._transport.sleep(LOOK_S)

    async def wait(self, replay: Replay | str, timeout_s: float | None = None) -> Replay:
        """The replay once it has ended; raises StillRunning after `timeout_s` (None: no limit)."""
        until = None if timeout_s is None else self._transport.clock() + timeout_s
        async for found in self.watch(replay):
            if found.done:
                return found
            if until is not None and self._transport.clock() >= until:
                raise StillRunning(f"{found.id} is running after {timeout_s:g} s")
        raise AssertionError("a watch ends with the replay")

    async def _ask(self, wish: Mapping[str, Any]) -> dict[str, Any]:
        body = json.dumps(wish).encode()
        headers = {"Content-Type": "application/json"}
        # Asked twice there would be two replays, which do no more than one: a job is queued again once.
        found = (
            await self._transport.send("POST", "/v1/dead-letters:replay", headers=headers, body=lambda: body)
        ).json()
        if not isinstance(found, dict):
            raise UnexpectedAnswer("the answer is no replay: is this address a Penstock gateway?")
        return found
