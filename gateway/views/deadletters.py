"""Dead letters: a tenant's failed jobs, listed by what they failed of, and sent back by the same filter."""

from datetime import datetime
from typing import Any

import msgspec
from flask import Response, g, request
from ulid import ULID

from errors import Fault, InvalidInput, NotFound, QuotaExceeded
from gateway import bodies
from gateway.answers import answer
from gateway.asking import JOB_ID, base_url
from gateway.json_bodies import read_json
from gateway.letter_objects import (
    DeadLetter,
    DeadLetterPage,
    Moment,
    ReplayObject,
    ReplayPlan,
    ReplayWish,
    letter_shown,
    replay_shown,
)
from gateway.parts import Parts
from gateway.routes import Answer, Body, Parameter, Route
from storage.clock import wall_ms
from storage.deadletters import MOST_RUNNING, NEVER_MS, Letter, Replay
from tasks.letters import Read, Wanted, opened, read

DEFAULT_LIMIT, MAX_LIMIT = 50, 500
#: Letters looked at for one page, and for a dry run: a filter that matches nothing must not read everything at once.
MAX_SCAN, MAX_COUNTED = 2000, 20_000
#: Letters read in one round trip where a filter is set.
STRIDE = 500
#: Letters that a dry run shows.
SAMPLE = 5
#: Bytes of a body here; enough for 1,000 ids.
MAX_BYTES = 256 * 1024
REPLAY_ID = "rpl_"
#: Seconds that a client is told to wait whose replays are too many.
BUSY_RETRY_S = 10.0

_wish = msgspec.json.Decoder(ReplayWish)


class DeadLetterViews:
    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.letters = parts.dead_letters

    def page(self) -> Response:
        wanted, limit, cursor = asked()
        found: list[DeadLetter] = []
        for _ in range(0, MAX_SCAN, STRIDE):
            letters = self.letters.newest(
                g.tenant, before=cursor, since_ms=wanted.since_ms, until_ms=wanted.until_ms, limit=STRIDE
            )
            for one in read(self.parts.jobs, letters):
                if wanted.matches(one):
                    found.append(self.shown(one))
                    if len(found) == limit:
                        return answer(DeadLetterPage(data=found, next_cursor=written(one.letter)))
            if len(letters) < STRIDE:
                return answer(DeadLetterPage(data=found))
            cursor = letters[-1]
        return answer(DeadLetterPage(data=found, next_cursor=written(cursor)))

    def replay(self) -> Response:
        bodies.require(request.environ, "application/json")
        wish = read_json(bodies.read(request.environ, MAX_BYTES), _wish)
        now = wall_ms()
        wanted = chosen(wish, now)
        if wish.dry_run:
            plan = self.plan(wanted)
            # A key that may only submit learns how many there are, and not what came of them.
            return answer(plan if "read" in g.scopes else msgspec.structs.replace(plan, sample=[]))
        begun = Replay(
            id=REPLAY_ID + str(ULID()),
            tenant=g.tenant,
            wanted=msgspec.json.encode(wanted),
            rate=wish.rate or 0.0,
            created_ms=now,
        )
        if not self.letters.begin(begun):
            raise QuotaExceeded(
                f"tenant {g.tenant!r} has {MOST_RUNNING} replays running, its limit; wait until one ends, or cancel it",
                retry_after_s=BUSY_RETRY_S,
            )
        shown = self.replay_object(begun)
        return answer(shown, 202, {"Location": shown.url})

    def plan(self, wanted: Wanted) -> ReplayPlan:
        """What the filter finds now."""
        if wanted.ids:
            letters = [Letter(0, id) for id in dict.fromkeys(wanted.ids)]
            known = [opened(*pair) for pair in zip(letters, self.parts.jobs.get_all(wanted.ids), strict=False)]
            found = [one for one in known if one and one.job.tenant == g.tenant]
            return ReplayPlan(
                matched=len(found), complete=True, sample=[self.shown(one) for one in found if one][:SAMPLE]
            )
        matched, cursor, sample = 0, Letter(0, ""), list[DeadLetter]()
        for _ in range(0, MAX_COUNTED, STRIDE):
            some = self.letters.oldest(
                g.tenant, after=cursor, since_ms=wanted.since_ms, until_ms=wanted.until_ms, limit=STRIDE
            )
            meant = [one for one in read(self.parts.jobs, some) if wanted.matches(one)]
            matched += len(meant)
            sample += [self.shown(one) for one in meant[: SAMPLE - len(sample)]]
            if len(some) < STRIDE:
                return ReplayPlan(matched=matched, complete=True, sample=sample)
            cursor = some[-1]
        return ReplayPlan(matched=matched, complete=False, sample=sample)

    def show(self, id: str) -> Response:
        return answer(self.replay_object(self.own(id)))

    def cancel(self, id: str) -> Response:
        if self.own(id).status == "running":
            self.letters.end(id, "canceled")
        return self.show(id)

    def own(self, id: str) -> Replay:
        replay = self.letters.replay(id) if JOB_ID.fullmatch(id) else None
        if replay is None or replay.tenant != g.tenant:
            raise NotFound(f"no replay {id[:80]!r}")
        return replay

    def replay_object(self, replay: Replay) -> ReplayObject:
        return replay_shown(replay, base=base_url(self.parts, request.environ))

    def shown(self, one: Read) -> DeadLetter:
        return letter_shown(one, base=base_url(self.parts, request.environ))


def asked() -> tuple[Wanted, int, Letter]:
    """Filter, limit and cursor from the query; raises InvalidInput."""
    given: dict[str, Any] = {}
    metadata: dict[str, str] = {}
    limit, cursor = DEFAULT_LIMIT, Letter(NEVER_MS, "")
    for name, value in request.args.items():
        if name in ("model", "version", "code"):
            given[name] = value
        elif name in ("since", "until"):
            given[f"{name}_ms"] = moment(name, value)
        elif name == "limit" and value.isascii() and value.isdigit() and 1 <= int(value[:9]) <= MAX_LIMIT:
            limit = int(value)
        elif name == "cursor":
            cursor = position(value)
        elif name.startswith("metadata."):
            metadata[name.removeprefix("metadata.")] = value
        else:
            raise refused(name, f"must be a number from 1 to {MAX_LIMIT}" if name == "limit" else "is no parameter")
    return Wanted(metadata=metadata, **given), limit, cursor


def chosen(wish: ReplayWish, now_ms: int) -> Wanted:
    """What a replay is about; raises InvalidInput where the body says nothing, or two things."""
    filters = [wish.model, wish.version, wish.code, wish.since, wish.until, wish.metadata]
    if sum((bool(wish.ids), any(filters), wish.all)) != 1:
        raise InvalidInput(
            'say which dead letters: "ids", a filter (model, version, code, since, until, metadata), or "all": true',
            faults=[Fault("#", "one of ids, a filter, or all")],
        )
    return Wanted(
        ids=tuple(dict.fromkeys(wish.ids)),
        model=wish.model,
        version=wish.version,
        code=wish.code,
        since_ms=milliseconds(wish.since) if wish.since else 0,
        # What fails from now on is not meant: else a job that fails again would be replayed again.
        until_ms=min(milliseconds(wish.until) if wish.until else now_ms, now_ms),
        metadata=wish.metadata,
    )


def moment(name: str, text: str) -> int:
    """An RFC 3339 time of a query as milliseconds; raises InvalidInput."""
    try:
        return milliseconds(msgspec.convert(text, Moment))
    except msgspec.ValidationError as error:
        raise refused(name, "must be a time such as 2026-01-31T12:00:00Z") from error


def milliseconds(when: datetime) -> int:
    return min(NEVER_MS, max(0, round(when.timestamp() * 1000)))


def written(letter: Letter) -> str:
    return f"{letter.at_ms}-{letter.id}"


def position(cursor: str) -> Letter:
    at_ms, _, id = cursor.partition("-")
    if not (at_ms.isascii() and at_ms.isdigit() and len(at_ms) <= 16 and JOB_ID.fullmatch(id)):
        raise refused("cursor", "is not one that a page gave")
    return Letter(min(int(at_ms), NEVER_MS), id)


def refused(name: str, why: str) -> InvalidInput:
    return InvalidInput(f"{name[:80]} {why}", faults=[Fault(f"?{name[:80]}", why)])


def routes(parts: Parts) -> list[Route]:
    views = DeadLetterViews(parts)
    one = {"application/json": ReplayObject}
    return [
        Route(
            method="GET", path="/v1/dead-letters", view=views.page, name="listDeadLetters", tag="dead letters",
            scope="read",
            summary="Your failed jobs, the last one first",
            description="`metadata.<key>=<value>` keeps jobs whose metadata has that value; several may be given.",
            parameters=(
                Parameter(name="model"),
                Parameter(name="version"),
                Parameter(name="code", description="what they failed of, e.g. `model_error`"),
                Parameter(name="since", schema={"type": "string", "format": "date-time"}),
                Parameter(name="until", schema={"type": "string", "format": "date-time"}),
                Parameter(
                    name="limit",
                    schema={"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
                ),
                Parameter(name="cursor", description="`next_cursor` of the page before"),
            ),
            answers={200: Answer(description="A page", content={"application/json": DeadLetterPage})},
            errors=("invalid_input",),
        ),
        Route(
            method="POST", path="/v1/dead-letters:replay", view=views.replay, name="replayDeadLetters",
            scope="submit",
            tag="dead letters", summary="Send dead letters back to the queue",
            description=(
                "Each runs again under its id, oldest first, at `rate` jobs a second. What fails after this call is "
                "not replayed by it; two may run at once. `dry_run` only says how many there are, and shows a few to a "
                "key that may read."
            ),
            body=Body(content={"application/json": ReplayWish}, max_bytes=MAX_BYTES),
            answers={
                200: Answer(description="A dry run", content={"application/json": ReplayPlan}),
                202: Answer(description="Begun", content=one, headers={"Location": "the replay"}),
            },
            errors=(
                "invalid_input", "malformed_body", "unsupported_media_type", "payload_too_large", "quota_exceeded",
            ),
        ),
        Route(
            method="GET", path="/v1/replays/<id>", view=views.show, name="getReplay", tag="dead letters",
            scope="read",
            summary="How far a replay is", answers={200: Answer(description="The replay", content=one)},
            errors=("not_found",),
        ),
        Route(
            method="POST", path="/v1/replays/<id>/cancel", view=views.cancel, name="cancelReplay", tag="dead letters",
            scope="submit",
            summary="End a replay", description="What is queued again stays queued.",
            answers={200: Answer(description="The replay as it is now", content=one)}, errors=("not_found",),
        ),
    ]  # fmt: skip
