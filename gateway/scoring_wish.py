"""What a client may say when it starts a scoring."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from errors import Fault, InvalidInput
from gateway.json_bodies import escaped, read_whole
from gateway.submission import LONGEST_S, Word, side_complaint
from models.manifest import Manifest
from storage.inputs import MAX_PARTS
from storage.webhooks import SCORING_EVENTS
from tasks.message import Lane

#: Columns that may be passed through.
MOST_KEPT = 1_000
#: Rows that a shard may be asked to have.
MOST_SHARD_ROWS = 1_000_000
#: How long output and record outlive the end where nothing is said, seconds.
RESULT_TTL_S = 7 * 86_400

Format = Literal["jsonl", "csv", "parquet"]
Column = Annotated[str, Meta(min_length=1, max_length=512)]
ObjectName = Annotated[str, Meta(min_length=1, max_length=128)]


class Uploaded(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Uploads that hold the rows: one, or several whose rows count in their order."""

    object: ObjectName | None = None
    objects: Annotated[tuple[ObjectName, ...], Meta(min_length=1, max_length=MAX_PARTS)] | None = None


class ScoringWebhook(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where to report the scoring to."""

    url: Annotated[str, Meta(min_length=1, max_length=2048)]
    #: scoring.progress, scoring.completed.
    events: tuple[Annotated[str, Meta(max_length=64)], ...] = ("scoring.completed",)


class ScoringWish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One scoring as a client asks for it."""

    model: Annotated[str, Meta(min_length=1, max_length=128)]
    #: Uploads, or `s3://bucket/key`, whose key may hold `*`, `?` and `[…]`.
    input: Annotated[str, Meta(min_length=1, max_length=1200)] | Uploaded
    version: Annotated[str, Meta(max_length=64)] | None = None
    #: null: as the first object's name or bytes tell.
    format: Format | None = None
    #: null: as the input's.
    output_format: Format | None = None
    #: Inputs of the model to the column that each is read from, or to the columns that make up one row of it; an input
    #: that is not named is read from the column of its own name.
    mapping: dict[str, Column | Annotated[tuple[Column, ...], Meta(min_length=1, max_length=100_000)]] = {}
    #: The column that names rows; null: `custom_id` where there is one.
    custom_id: Column | None = None
    #: Columns that are passed through to the output.
    keep: Annotated[tuple[Column, ...], Meta(max_length=MOST_KEPT)] = ()
    parameters: dict[str, Any] = {}
    priority: Lane = "low"
    #: More failed rows than that fail the scoring; null: no bound.
    max_failed_rows: Annotated[int, Meta(ge=0, le=2**53)] | None = None
    #: null: as many as take about a second.
    shard_rows: Annotated[int, Meta(ge=1, le=MOST_SHARD_ROWS)] | None = None
    #: How long output and record are kept after the end.
    result_ttl_s: Annotated[int, Meta(ge=1, le=LONGEST_S)] = RESULT_TTL_S
    metadata: dict[Word, Word | int | float | bool | None] = {}
    webhook: ScoringWebhook | None = None
    #: Look at the rows, count them and estimate; run nothing.
    dry_run: bool = False


_decoder = msgspec.json.Decoder(ScoringWish)


def decode(body: bytes) -> ScoringWish:
    """Read a JSON body; raises MalformedBody with the position, or InvalidInput with a pointer."""
    wish = read_whole(body, _decoder)
    refuse([*side_faults(wish), *input_faults(wish), *webhook_faults(wish.webhook), *repeated("keep", wish.keep)])
    return wish


def refuse(faults: list[Fault]) -> None:
    """Raises InvalidInput where something is wrong."""
    if faults:
        raise InvalidInput(f"{faults[0].pointer} {faults[0].detail}", faults=faults)


def side_faults(wish: ScoringWish) -> Iterable[Fault]:
    for name in ("parameters", "metadata"):
        value = getattr(wish, name)
        if value and (reason := side_complaint(value)):
            yield Fault(f"#/{name}", reason)


def input_faults(wish: ScoringWish) -> Iterable[Fault]:
    given = wish.input
    if isinstance(given, str):
        if not given.startswith("s3://"):
            yield Fault("#/input", 'must be {"object": "<id>"}, {"objects": ["<id>", …]} or "s3://bucket/key"')
    elif (given.object is None) is (given.objects is None):
        yield Fault("#/input", "must have one of object and objects")
    elif given.objects is not None:
        yield from repeated("input/objects", given.objects)


def repeated(place: str, names: tuple[str, ...]) -> Iterable[Fault]:
    seen: set[str] = set()
    for number, name in enumerate(names):
        if name in seen:
            yield Fault(f"#/{place}/{number}", f"{name[:80]!r} is there already")
            return
        seen.add(name)


def webhook_faults(webhook: ScoringWebhook | None) -> Iterable[Fault]:
    """What is wrong with its events. Its URL is for `tasks.webhooks.addresses` to judge."""
    if webhook is None:
        return
    known = ", ".join(SCORING_EVENTS)
    if not webhook.events:
        yield Fault("#/webhook/events", f"must name one of {known}")
    for number, event in enumerate(webhook.events):
        if event not in SCORING_EVENTS:
            yield Fault(f"#/webhook/events/{number}", f"is none of {known}")


def check_model(wish: ScoringWish, manifest: Manifest) -> None:
    """Raises InvalidInput for a model that takes no rows, and for a mapping that names none of its inputs."""
    if manifest.unscorable:
        raise refusal("#/model", manifest.unscorable)
    known = [tensor.name for tensor in manifest.inputs]
    refuse([mapping_fault(name, known) for name in wish.mapping if name not in known])


def mapping_fault(name: str, known: list[str]) -> Fault:
    near = get_close_matches(name[:80], known, n=1)
    meant = f"; did you mean {near[0]}?" if near else f"; its inputs are {', '.join(known)}"
    return Fault(f"#/mapping/{escaped(name)}", f"{name[:80]!r} is no input of the model{meant}")


def refusal(pointer: str, detail: str) -> InvalidInput:
    return InvalidInput(f"{pointer} {detail}", faults=[Fault(pointer, detail)])
