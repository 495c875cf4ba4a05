"""Dead letters and replays as clients see them."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from storage.deadletters import Replay
from tasks.job_object import timestamp
from tasks.letters import Read

#: Fewer jobs a second are no replay: the slowest sends one in 17 minutes.
SLOWEST = 0.001

Text = Annotated[str, Meta(max_length=128)]
Id = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_-]{1,128}\Z")]
Moment = Annotated[datetime, Meta(tz=True)]


class FormerError(msgspec.Struct, frozen=True, kw_only=True):
    attempt: int
    code: str
    at: str | None


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A failed job."""

    id: str
    object: str = "dead_letter"
    model: str
    version: str
    code: str
    #: The job's problem document.
    error: msgspec.Raw | None
    attempt: int
    failures: int
    worker_losses: int
    interruptions: int
    #: How often it was sent back to the queue after its end, and the last five errors before that, oldest first.
    replays: int
    former_errors: list[FormerError]
    metadata: dict[str, Any]
    created_at: str | None
    failed_at: str | None
    #: The job itself.
    url: str


class DeadLetterPage(msgspec.Struct, frozen=True, kw_only=True):
    """Newest first. With a filter a page may hold fewer than asked for, even none, and have a next one."""

    object: str = "list"
    data: list[DeadLetter]
    next_cursor: str | None = None


class ReplayWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which dead letters: by ids, by a filter (all that it says must hold), or all."""

    ids: Annotated[tuple[Id, ...], Meta(max_length=1000)] = ()
    model: Text = ""
    version: Text = ""
    code: Text = ""
    since: Moment | None = None
    until: Moment | None = None
    metadata: Annotated[dict[Text, str], Meta(max_length=16)] = {}
    #: Needed where nothing else says which.
    all: bool = False
    #: Only say how many there are.
    dry_run: bool = False
    #: Jobs a second; without it, as fast as the farm can.
    rate: Annotated[float, Meta(ge=SLOWEST, le=10_000)] | None = None


class ReplayPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay would do."""

    object: str = "replay_plan"
    matched: int
    #: False where there are more letters than a dry run looks at: `matched` is what it found until then.
    complete: bool
    sample: list[DeadLetter]


class ReplayObject(msgspec.Struct, frozen=True, kw_only=True):
    """A replay on its way."""

    id: str
    object: str = "replay"
    #: running, completed or canceled.
    status: str
    rate: float | None
    #: Jobs that are queued again, and those that could not be (their time to start was over, or they are no dead
    #: letters any more).
    replayed: int
    skipped: int
    created_at: str | None
    completed_at: str | None
    url: str


_former = msgspec.json.Decoder(list[dict[str, Any]])


def replay_shown(replay: Replay, *, base: str) -> ReplayObject:
    """`base`: the URL that the gateway is asked by."""
    return ReplayObject(
        id=replay.id,
        status=replay.status,
        rate=replay.rate or None,
        replayed=replay.replayed,
        skipped=replay.skipped,
        created_at=timestamp(replay.created_ms),
        completed_at=timestamp(replay.completed_ms),
        url=f"{base}/v1/replays/{replay.id}",
    )


def letter_shown(one: Read, *, base: str) -> DeadLetter:
    """`base`: the URL that the gateway is asked by."""
    job, message = one.job, one.message
    former = _former.decode(job.history) if job.history else []
    return DeadLetter(
        id=job.id,
        model=message.model,
        version=message.version,
        code=one.code,
        error=None if job.error is None else msgspec.Raw(job.error),
        attempt=job.attempt,
        failures=job.failures,
        worker_losses=job.losses,
        interruptions=job.interruptions,
        replays=job.replays,
        former_errors=[
            FormerError(attempt=int(was["attempt"]), code=was["code"], at=timestamp(int(was["at_ms"])))
            for was in former
        ],
        metadata=message.metadata,
        created_at=timestamp(job.created_ms),
        failed_at=timestamp(job.completed_ms),
        url=f"{base}/v1/jobs/{job.id}",
    )
