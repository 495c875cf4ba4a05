"""What a client may say when it submits a job."""

import time
from datetime import datetime
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from errors import Fault, InvalidInput
from gateway.json_bodies import anything, escaped, read_json, read_whole
from storage.webhooks import EVENTS
from tasks.message import Lane

#: Longest time that anything may be asked to wait or be kept, seconds: 30 days.
LONGEST_S = 30 * 86_400
#: Bytes of JSON that `parameters` and `metadata` may have each: they travel in every message and record.
SIDE_LIMIT = 16 * 1024
#: Levels of lists and objects in them, so that every later reader has stack enough.
SIDE_DEPTH = 32

Seconds = Annotated[float, Meta(gt=0, le=LONGEST_S)]
Word = Annotated[str, Meta(max_length=512)]


class WebhookWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where to report the job to."""

    url: Annotated[str, Meta(min_length=1, max_length=2048)]
    #: job.started, job.completed.
    events: tuple[Annotated[str, Meta(max_length=64)], ...] = ("job.completed",)


class Submission(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One job as a client asks for it."""

    model: Annotated[str, Meta(min_length=1, max_length=128)]
    #: Input names to values: scalars, nested lists, strings, `{"b64": …}` or `{"object": "<id>"}`.
    inputs: dict[str, msgspec.Raw]
    version: Annotated[str, Meta(max_length=64)] | None = None
    parameters: dict[str, Any] = {}
    priority: Lane = "normal"
    #: Not started within so many seconds: expired.
    queue_ttl_s: Seconds | None = None
    #: At most the model's own limit, which also is the default.
    timeout_s: Seconds | None = None
    #: Not started by then: expired.
    deadline: Annotated[datetime, Meta(tz=True)] | None = None
    #: At most the model's own limit, which also is the default.
    max_attempts: Annotated[int, Meta(ge=1, le=100)] | None = None
    #: How long the result is kept.
    result_ttl_s: Annotated[int, Meta(ge=1, le=LONGEST_S)] = 86_400
    metadata: dict[Word, Word | int | float | bool | None] = {}
    webhook: WebhookWish | None = None


class Input(NamedTuple):
    """One input: what the signature is held against, and its JSON as it goes into the message."""

    value: object
    raw: bytes | msgspec.Raw
    #: SHA-256 of the content where the gateway itself has stored it, so that the reference needs no looking up.
    stored: str = ""


_decoder = msgspec.json.Decoder(Submission)
_encode = msgspec.json.Encoder().encode


def decode(body: bytes, *, place: str = "#") -> Submission:
    """Read a JSON body; raises MalformedBody with the position, or InvalidInput with a pointer."""
    return checked(read_whole(body, _decoder, place=place), place)


def read_inputs(submission: Submission, *, place: str = "#") -> dict[str, Input]:
    """The inputs' values; raises MalformedBody for one that is nested too deeply or no UTF-8."""
    return {
        name: Input(read_json(raw, anything, place=f"{place}/inputs/{escaped(name)}"), raw)
        for name, raw in submission.inputs.items()
    }


def checked(submission: Submission, place: str = "#") -> Submission:
    """The submission, once what its types cannot say holds too; raises InvalidInput."""
    faults = []
    for name in ("parameters", "metadata"):
        value = getattr(submission, name)
        if value and (reason := side_complaint(value)):
            faults.append(Fault(f"{place}/{name}", reason))
    if submission.deadline is not None and submission.deadline.timestamp() <= time.time():
        faults.append(Fault(f"{place}/deadline", "has passed"))
    if submission.webhook is not None and (found := webhook_complaint(submission.webhook)):
        faults.append(Fault(f"{place}/webhook/{found[0]}", found[1]))
    if faults:
        raise InvalidInput(f"{faults[0].pointer} {faults[0].detail}", faults=faults)
    return submission


def side_complaint(value: object) -> str:
    """What is wrong with `parameters` or `metadata`; empty when nothing is."""
    try:
        text = _encode(value)
    except RecursionError:
        return "is nested too deeply"
    if len(text) > SIDE_LIMIT:
        return f"has more than {SIDE_LIMIT} bytes of JSON"
    # Each level opens a bracket: a count that is small enough settles it without a walk.
    if text.count(b"[") + text.count(b"{") > SIDE_DEPTH and depth(value) > SIDE_DEPTH:
        return f"is nested deeper than {SIDE_DEPTH} levels"
    return ""


def depth(value: object) -> int:
    """Levels of lists and objects, counted level by level."""
    level, count = [value], 0
    while level := [item for item in level if isinstance(item, (list, dict))]:
        count += 1
        level = [child for item in level for child in (item.values() if isinstance(item, dict) else item)]
    return count


def webhook_complaint(webhook: WebhookWish) -> tuple[str, str] | None:
    """What is wrong with its events, and where. Its URL is for `tasks.webhooks.addresses` to judge."""
    if not webhook.events:
        return "events", f"must name one of {', '.join(EVENTS)}"
    for number, event in enumerate(webhook.events):
        if event not in EVENTS:
            return f"events/{number}", f"is none of {', '.join(EVENTS)}"
    return None
