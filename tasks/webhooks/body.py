"""What a webhook says: `{"type", "timestamp", "data": job or scoring object}`, thin, so that any receiver takes it."""

from collections.abc import Iterator
from typing import Any

import msgspec

from storage.job import Job, Status
from storage.scoring import Scoring
from tasks.job_object import JobObject, job_object, timestamp
from tasks.message import Message
from tasks.scoring_object import ScoringInput, ScoringObject, scoring_object

STARTED, COMPLETED, PING = "job.started", "job.completed", "ping"
#: Outputs, and a failure's problem document, are in it up to so many bytes of JSON.
PART_BYTES = 4096
#: A body has less than this, bytes.
BODY_BYTES = 20_000
#: Characters of a long error's detail that are in it.
DETAIL = 500

_encode = msgspec.json.Encoder(decimal_format="number").encode


class Event(msgspec.Struct, frozen=True):
    type: str
    timestamp: str | None
    data: JobObject | ScoringObject | dict[str, Any]


def body_of(job: Job, message: Message, *, event: str, at_ms: int, base: str) -> bytes:
    """The body for one event of a job that happened at `at_ms`; fewer than BODY_BYTES."""
    if event == STARTED:
        job = at_start(job, at_ms)
    whole = msgspec.structs.replace(job_object(job, message, base=base), webhook_status="pending")
    for shown in slimmer(whole):
        body = _encode(Event(event, timestamp(at_ms), shown))
        if len(body) < BODY_BYTES:
            break
    return body


def scoring_body(scoring: Scoring, *, event: str, at_ms: int, base: str) -> bytes:
    """The body for one event of a scoring that happened at `at_ms`; fewer than BODY_BYTES."""
    shown = scoring_object(scoring, base=scoring.spec.base or base)
    shown = msgspec.structs.replace(shown, error=shortened(shown.error))
    body = _encode(Event(event, timestamp(at_ms), shown))
    if len(body) < BODY_BYTES:
        return body
    return _encode(Event(event, timestamp(at_ms), msgspec.structs.replace(shown, metadata={}, input=bare(shown.input))))


def bare(given: ScoringInput) -> ScoringInput:
    """The input without the names of its objects."""
    return msgspec.structs.replace(given, objects=())


def ping(endpoint: str, *, at_ms: int) -> bytes:
    """The body of a trial."""
    return _encode(Event(PING, timestamp(at_ms), {"webhook": endpoint}))


def without_contents(body: bytes) -> bytes:
    """A body that was made already, of a job that was deleted since."""
    event = msgspec.json.decode(body)
    event["data"] |= {"outputs": None, "error": None}
    return _encode(event)


def at_start(job: Job, at_ms: int) -> Job:
    """The job as it was when it started, whatever has become of it since."""
    return msgspec.structs.replace(
        job, status=Status.RUNNING, started_ms=at_ms, completed_ms=0, expires_ms=0, outputs=None, outputs_key="",
        error=None, compute_ms=0.0, steps=b"",
    )  # fmt: skip


def slimmer(shown: JobObject) -> Iterator[JobObject]:
    """The job, then with less and less: what is left out can be fetched by its `urls`."""
    large = shown.outputs is not None and len(bytes(shown.outputs)) > PART_BYTES
    shown = msgspec.structs.replace(shown, outputs=None if large else shown.outputs, error=shortened(shown.error))
    yield shown
    shown = msgspec.structs.replace(shown, outputs=None)
    yield shown
    shown = msgspec.structs.replace(shown, metrics=msgspec.structs.replace(shown.metrics, steps=()))
    yield shown
    yield msgspec.structs.replace(shown, metadata={})


def shortened(error: msgspec.Raw | None) -> msgspec.Raw | None:
    """A problem document, a long one cut to what says what it is."""
    if error is None or len(bytes(error)) <= PART_BYTES:
        return error
    found = msgspec.json.decode(error)
    kept = {name: str(found[name])[:DETAIL] for name in ("type", "title", "code", "detail") if name in found}
    return msgspec.Raw(_encode(kept | {name: found[name] for name in ("status", "retryable") if name in found}))
