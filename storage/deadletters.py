"""Dead letters: a tenant's jobs that failed, by the time they did, and the replays that send them back to the queue."""

from typing import NamedTuple

import msgspec

from storage import keys
from storage.connection import Client, store_errors
from storage.jobs import Due, JobStore
from storage.scripts import Call, Scripts

#: How long a replay that has ended is remembered, seconds.
REPLAY_TTL_S = 7 * 86_400
#: Replays of one tenant that may run at once: each costs the relay, which all tenants share, a read of 1,000 letters a
#: slice.
MOST_RUNNING = 2
#: What a search without an end ends with, milliseconds.
NEVER_MS = 2**53


class Letter(NamedTuple):
    """Sorts by time, then by id, as the store has them."""

    at_ms: int
    id: str


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """Dead letters on their way back to the queue."""

    id: str
    tenant: str
    #: Which, JSON (tasks.letters.Wanted).
    wanted: bytes
    #: Jobs a second; 0: as fast as the relay can.
    rate: float
    #: running, completed or canceled.
    status: str = "running"
    created_ms: int
    completed_ms: int = 0
    #: Jobs queued again, and those that could not be.
    replayed: int = 0
    skipped: int = 0
    #: The last letter that was looked at.
    at_ms: int = 0
    at_id: str = ""

    @property
    def cursor(self) -> Letter:
        return Letter(self.at_ms, self.at_id)


_TEXTS = ("tenant", "status", "at_id")
_NUMBERS = ("created_ms", "completed_ms", "replayed", "skipped", "at_ms")


class DeadLetters:
    """Methods raise StoreUnavailable when Redis does not answer."""

    def __init__(self, client: Client, jobs: JobStore) -> None:
        self._client = client
        self._jobs = jobs
        self._scripts = Scripts(client)

    def oldest(
        self, tenant: str, *, after: Letter, since_ms: int = 0, until_ms: int = NEVER_MS, limit: int
    ) -> list[Letter]:
        """Letters behind `after`, oldest first, of a time (both ends included)."""
        return self._page(tenant, max(since_ms, after.at_ms), until_ms, limit, after=after)

    def newest(
        self, tenant: str, *, before: Letter, since_ms: int = 0, until_ms: int = NEVER_MS, limit: int
    ) -> list[Letter]:
        """Letters before `before`, newest first."""
        return self._page(tenant, since_ms, min(until_ms, before.at_ms), limit, before=before)

    def _page(
        self, tenant: str, low: int, high: int, limit: int, *, after: Letter | None = None, before: Letter | None = None
    ) -> list[Letter]:
        """Many may have failed in one millisecond, so that the time alone is no place to go on from."""
        command = self._client.zrangebyscore if before is None else self._client.zrevrangebyscore
        ends = (low, high) if before is None else (high, low)
        found: list[Letter] = []
        start = 0
        while len(found) < limit:
            with store_errors():
                rows = command(keys.failed_jobs(tenant), *ends, start=start, num=limit, withscores=True)
            letters = [Letter(int(score), id.decode()) for id, score in rows]
            found += [one for one in letters if (after is None or one > after) and (before is None or one < before)]
            if len(rows) < limit:
                break
            start += limit
        return found[:limit]

    # -- replays ------------------------------------------------------------------------------------------------

    def begin(self, replay: Replay) -> bool:
        """From now on the relay works on it; False where MOST_RUNNING of its tenant run."""
        keys_ = (keys.replay(replay.id), keys.DUE, keys.replays(replay.tenant), keys.replay(""))
        fields = [part for pair in fields_of(replay).items() for part in pair]
        with store_errors():
            begun = self._scripts.run(Call("replay", keys_, (replay.id, self._jobs.now_ms(), MOST_RUNNING, *fields)))
        return bool(begun)

    def replay(self, id: str) -> Replay | None:
        with store_errors():
            fields = self._client.hgetall(keys.replay(id))
        if not fields:
            return None
        values: dict[str, object] = {name: fields[name.encode()].decode() for name in _TEXTS}
        values |= {name: int(fields[name.encode()]) for name in _NUMBERS}
        return Replay(id=id, wanted=fields[b"wanted"], rate=float(fields[b"rate"]), **values)  # type: ignore[arg-type]

    def advance(self, replay: Replay, cursor: Letter, *, skipped: int, due: Due, next_ms: int) -> None:
        """Note how far a replay is; it goes on at `next_ms`. How many were replayed, each retry has counted itself."""
        with store_errors():
            pipe = self._client.pipeline(transaction=True)
            pipe.hset(keys.replay(replay.id), mapping={"at_ms": cursor.at_ms, "at_id": cursor.id})
            pipe.hincrby(keys.replay(replay.id), "skipped", skipped)
            pipe.zadd(keys.DUE, {due.member: next_ms}, xx=True)
            pipe.execute()

    def end(self, id: str, status: str) -> None:
        with store_errors():
            pipe = self._client.pipeline(transaction=True)
            pipe.hset(keys.replay(id), mapping={"status": status, "completed_ms": self._jobs.now_ms()})
            pipe.expire(keys.replay(id), REPLAY_TTL_S)
            pipe.zrem(keys.DUE, f"replay:{id}")
            pipe.execute()


def fields_of(replay: Replay) -> dict[str, str | bytes | int | float]:
    return {name: getattr(replay, name) for name in (*_TEXTS, *_NUMBERS, "wanted", "rate")}
