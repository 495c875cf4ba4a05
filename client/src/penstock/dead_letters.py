"""`client.dead_letters`: jobs that failed, and their way back to the queue."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from penstock.errors import JobFailure, StillRunning, UnexpectedAnswer, job_failure
from penstock.job import known

if TYPE_CHECKING:
    from penstock.transport import Transport

#: Between two looks at a replay, seconds.
LOOK_S = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class FormerError:
    """What a job failed of before it was sent back to the queue."""

    attempt: int = 0
    code: str = ""
    at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadLetter:
    """A job that failed."""

    id: str
    model: str = ""
    version: str = ""
    code: str = ""
    error: JobFailure | None = field(default=None, compare=False)
    attempt: int = 0
    failures: int = 0
    worker_losses: int = 0
    interruptions: int = 0
    #: How often it was sent back to the queue after its end, and the last errors before that, oldest first.
    replays: int = 0
    former_errors: tuple[FormerError, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    created_at: datetime | None = None
    failed_at: datetime | None = None
    #: The letter as it was received.
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> "DeadLetter":
        values = times(known(cls, data), "created_at", "failed_at")
        values["former_errors"] = tuple(
            FormerError(**times(known(FormerError, one), "at")) for one in data.get("former_errors", ())
        )
        if "error" in values:
            values["error"] = job_failure(values["error"], job_id=data["id"])
        return cls(**values | {"raw": data})


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplayPlan:
    """What a replay would do."""

    matched: int = 0
    #: False where there are more letters than a dry run looks at.
    complete: bool = True
    sample: tuple[DeadLetter, ...] = ()
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Replay:
    """A replay on its way."""

    id: str
    #: running, completed or canceled.
    status: str = ""
    #: Jobs a second; None: as fast as the farm can.
    rate: float | None = None
    #: Jobs that are queued again, and those that could not be.
    replayed: int = 0
    skipped: int = 0
    created_at: datetime | None = None
    completed_at: datetime | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def done(self) -> bool:
        return self.status != "running"

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> "Replay":
        return cls(**times(known(cls, data), "created_at", "completed_at") | {"raw": data})


class DeadLetters:
    """The failed jobs of this client's tenant."""

    def __init__(self, transport: "Transport") -> None:
        self._transport = transport

    def list(
        self,
        *,
        model: str | None = None,
        version: str | None = None,
        code: str | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        metadata: Mapping[str, str] | None = None,
        page_size: int = 100,
    ) -> Iterator[DeadLetter]:
        """All that match, the last one first; further pages are asked for as they are reached."""
        wanted = selected(model=model, version=version, code=code, since=since, until=until)
        query: dict[str, str | int] = {"limit": page_size, **wanted}
        query |= {f"metadata.{key}": value for key, value in (metadata or {}).items()}
        while True:
            page = self._transport.send("GET", "/v1/dead-letters", query=query).json()
            if not isinstance(page, dict) or not isinstance(page.get("data"), list):
                raise UnexpectedAnswer("the answer is no list: is this address a Penstock gateway?")
            yield from (DeadLetter.parse(item) for item in page["data"])
            if not (cursor := page.get("next_cursor")):
                return
            query["cursor"] = cursor

    def plan(
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
        data = self._ask({**chosen(wanted, ids, metadata, all), "dry_run": True})
        sample = tuple(DeadLetter.parse(item) for item in data.get("sample", ()))
        return ReplayPlan(**known(ReplayPlan, data) | {"sample": sample, "raw": data})

    def replay(
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
        return Replay.parse(self._ask({**chosen(wanted, ids, metadata, all), **({"rate": rate} if rate else {})}))

    def get_replay(self, replay: Replay | str) -> Replay:
        """How far it is; raises NotFound."""
        return Replay.parse(self._transport.send("GET", path(replay)).json())

    def cancel_replay(self, replay: Replay | str) -> Replay:
        """End it; what is queued again stays queued."""
        return Replay.parse(self._transport.send("POST", path(replay) + "/cancel").json())

    def watch(self, replay: Replay | str) -> Iterator[Replay]:
        """The replay as it goes on, again and again until it has ended."""
        while True:
            found = self.get_replay(replay)
            yield found
            if found.done:
                return
            self._transport.sleep(LOOK_S)

    def wait(self, replay: Replay | str, timeout_s: float | None = None) -> Replay:
        """The replay once it has ended; raises StillRunning after `timeout_s` (None: no limit)."""
        until = None if timeout_s is None else self._transport.clock() + timeout_s
        for found in self.watch(replay):
            if found.done:
                return found
            if until is not None and self._transport.clock() >= until:
                raise StillRunning(f"{found.id} is running after {timeout_s:g} s")
        raise AssertionError("a watch ends with the replay")

    def _ask(self, wish: Mapping[str, Any]) -> dict[str, Any]:
        body = json.dumps(wish).encode()
        headers = {"Content-Type": "application/json"}
        # Asked twice there would be two replays, which do no more than one: a job is queued again once.
        found = self._transport.send("POST", "/v1/dead-letters:replay", headers=headers, body=lambda: body).json()
        if not isinstance(found, dict):
            raise UnexpectedAnswer("the answer is no replay: is this address a Penstock gateway?")
        return found


def selected(**filters: datetime | str | None) -> dict[str, str]:
    """What of a filter was given, as it travels."""
    return {
        name: value.astimezone().isoformat() if isinstance(value, datetime) else value
        for name, value in filters.items()
        if value
    }


def chosen(
    wanted: Mapping[str, str], ids: Sequence[str], metadata: Mapping[str, str] | None, all: bool
) -> dict[str, Any]:
    body: dict[str, Any] = dict(wanted)
    if ids:
        body["ids"] = [*ids]
    if metadata:
        body["metadata"] = dict(metadata)
    if all:
        body["all"] = True
    return body


def times(values: dict[str, Any], *names: str) -> dict[str, Any]:
    return values | {name: datetime.fromisoformat(values[name]) for name in names if values.get(name)}


def path(replay: Replay | str) -> str:
    return f"/v1/replays/{quote(replay.id if isinstance(replay, Replay) else replay, safe='')}"
