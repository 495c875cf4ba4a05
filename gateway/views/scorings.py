"""Scorings: a table's rows through a model, offline."""

import math
from hashlib import blake2b, sha256

import msgspec
from flask import Response, g, request
from ulid import ULID

from errors import (
    Fault,
    IdempotencyMismatch,
    InvalidInput,
    PenstockError,
    StoreUnavailable,
)
from gateway import bodies
from gateway.answers import answer, bare, encode, whole
from gateway.asking import JOB_ID, base_url, own_scoring
from gateway.idempotency import asked_key
from gateway.inputs import upload_key
from gateway.parts import Parts
from gateway.rendering import lacking
from gateway.routes import Answer, Body, Parameter, Route
from gateway.scoring_input import ScoringInputs, uploads
from gateway.scoring_wish import ScoringWish, check_model, decode
from models.catalog import Entry
from storage.clock import wall_ms
from storage.deliveries import of_scoring
from storage.scoring import Scoring, ScoringStatus, Spec
from storage.scorings import Made, too_many
from tasks.scoring_object import ScoringObject, scoring_object
from tasks.webhooks.addresses import check_url

#: Scorings of one tenant that have not ended.
MOST_UNFINISHED = 20
DEFAULT_LIMIT, MAX_LIMIT = 50, 500
#: Bytes of a body: the names of many objects.
MAX_BYTES = 2**20
#: Between two looks that are worth while, seconds: the first, and where it takes long.
LOOK_S, LONG_LOOK_S = 1, 5
#: States in which rows wait for somebody who runs them.
WAITING = frozenset({ScoringStatus.QUEUED, ScoringStatus.VALIDATING, ScoringStatus.RUNNING})
STATES = tuple(status.value for status in ScoringStatus)
_sorted = msgspec.json.Encoder(order="sorted").encode


class ScoringPage(msgspec.Struct, frozen=True, kw_only=True):
    """Scorings, newest first."""

    object: str = "list"
    data: list[ScoringObject]
    #: Where the next page begins; null at the end.
    next_cursor: str | None = None


class ScoringViews:
    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.scorings = parts.scorings
        self.inputs = ScoringInputs(parts)

    def create(self) -> Response:
        key = asked_key(request.environ)
        wish = decode(bodies.json_text(request.environ, MAX_BYTES))
        entry = self.parts.resolver.get(wish.model, wish.version)
        check_model(wish, entry.manifest)
        if wish.webhook is not None:
            check_url(wish.webhook.url, self.parts.policy)
        id = "scr_" + str(ULID())
        pinned = [upload_key(g.tenant, one.id) for one in uploads(wish)]
        # First, so that no upload is erased between a look at it and the record that needs it.
        self.parts.pins.hold(id, pinned)
        try:
            made = self.accept(self.spec(id, wish, entry), wish, key)
        except StoreUnavailable:
            # The record may be there all the same.
            raise
        except PenstockError:
            self.parts.pins.release(id, pinned)
            raise
        if made.id != id:
            self.parts.pins.release(id, pinned)
        shown = self.told(made.id)
        headers = {"Location": shown.urls.self} | ({"Idempotency-Replayed": "true"} if made.id != id else {})
        return answer(shown, 202, headers)

    def accept(self, spec: Spec, wish: ScoringWish, key: str) -> Made:
        """Make the record; raises IdempotencyMismatch, QuotaExceeded."""
        made = self.scorings.create(
            spec,
            idempotency_key=sha256(key.encode()).hexdigest() if key else "",
            body=sha256(_sorted(wish)).hexdigest() if key else "",
            most=MOST_UNFINISHED,
        )
        if made.verdict == "mismatch":
            raise IdempotencyMismatch(f"this Idempotency-Key started scoring {made.id} with another body")
        if made.verdict == "quota":
            raise too_many(made.id, MOST_UNFINISHED)
        return made

    def spec(self, id: str, wish: ScoringWish, entry: Entry) -> Spec:
        manifest, found = entry.manifest, self.inputs.parts(wish, g.tenant)
        format = self.inputs.format(wish, found)
        return Spec(
            id=id,
            tenant=g.tenant,
            model=wish.model,
            version=entry.version,
            pool=manifest.pools[0],
            priority=wish.priority,
            input=tuple(found),
            format=format,
            output_format=wish.output_format or format,
            mapping=wish.mapping,
            custom_id=wish.custom_id or "",
            keep=wish.keep,
            parameters=wish.parameters,
            max_failed_rows=wish.max_failed_rows,
            shard_rows=wish.shard_rows or 0,
            result_ttl_s=wish.result_ttl_s,
            metadata={**wish.metadata},
            webhook_url=wish.webhook.url if wish.webhook else "",
            webhook_events=wish.webhook.events if wish.webhook else (),
            dry_run=wish.dry_run,
            inputs=msgspec.Raw(encode(manifest.inputs)),
            outputs=msgspec.Raw(encode(manifest.outputs)),
            max_items=manifest.batching.max_items,
            base=base_url(self.parts, request.environ),
            created_ms=wall_ms(),
        )

    def get(self, id: str) -> Response:
        scoring = own_scoring(self.parts, id)
        body = encode(self.shown(scoring))
        tag = f'"{blake2b(body, digest_size=12).hexdigest()}"'
        headers = {"ETag": tag}
        if not scoring.ended:
            headers["Retry-After"] = str(pause_s(scoring))
        given = request.headers.get("If-None-Match", "")
        if given and (given.strip() == "*" or tag in [one.strip().removeprefix("W/") for one in given.split(",")]):
            return bare(304, headers)
        return whole(body, 200, headers)

    def page(self) -> Response:
        status, model, limit, cursor = asked()
        found = self.scorings.list(
            g.tenant, limit=limit, before=cursor, status=ScoringStatus(status) if status else None, model=model
        )
        return answer(ScoringPage(data=[self.shown(one) for one in found.scorings], next_cursor=found.cursor or None))

    def cancel(self, id: str) -> Response:
        own_scoring(self.parts, id)
        self.scorings.cancel(id)
        return answer(self.told(id))

    def retry_failed(self, id: str) -> Response:
        scoring = own_scoring(self.parts, id)
        if scoring.ended and scoring.failed:
            self.inputs.still_there(scoring)
        self.scorings.retry_failed(id, most=MOST_UNFINISHED)
        return answer(self.told(id), 202, {"Location": self.shown(scoring).urls.self})

    def delete(self, id: str) -> Response:
        self.scorings.erase(own_scoring(self.parts, id))
        self.parts.deliveries.forget(of_scoring(id))
        return bare(204, {})

    def told(self, id: str) -> ScoringObject:
        """How it stands now, for one who changed it; a key that may only submit does not learn what came of it."""
        shown = self.shown(own_scoring(self.parts, id))
        return shown if "read" in g.scopes else msgspec.structs.replace(shown, output=None, errors=None, error=None)

    def shown(self, scoring: Scoring) -> ScoringObject:
        spec, reason = scoring.spec, ""
        if scoring.status in WAITING and not spec.dry_run:
            reason = lacking(self.parts.register.serving(spec.pool, spec.model, spec.version))
        return scoring_object(scoring, base=base_url(self.parts, request.environ), reason=reason)


def pause_s(scoring: Scoring) -> int:
    """After how long another look may show something new, seconds."""
    shown = scoring_object(scoring, base="")
    return min(LONG_LOOK_S, max(LOOK_S, math.ceil((shown.eta_s or 0) / 20)))


def asked() -> tuple[str, str, int, str]:
    """Status, model, limit and cursor from the query; raises InvalidInput."""
    status, model, limit, cursor = "", "", DEFAULT_LIMIT, ""
    for name, value in request.args.items():
        if name == "status" and value in STATES:
            status = value
        elif name == "model":
            model = value
        elif name == "cursor" and JOB_ID.fullmatch(value):
            cursor = value
        elif name == "limit" and value.isascii() and value.isdigit() and 1 <= int(value[:9]) <= MAX_LIMIT:
            limit = int(value)
        else:
            raise InvalidInput(complaint(name), faults=[Fault(f"?{name[:80]}", complaint(name))])
    return status, model, limit, cursor


def complaint(name: str) -> str:
    known = {
        "status": f"must be one of {', '.join(STATES)}",
        "limit": f"must be a number from 1 to {MAX_LIMIT}",
        "cursor": "is not one that a page gave",
    }
    return f"{name[:80]} {known.get(name, 'is no parameter of this list')}"


def routes(parts: Parts) -> list[Route]:
    views = ScoringViews(parts)
    one = {"application/json": ScoringObject}
    path = "/v1/scorings/<id>"
    return [
        Route(
            method="POST", path="/v1/scorings", view=views.create, name="createScoring", tag="scorings",
            scope="submit",
            summary="Run a table's rows through a model",
            description=(
                "The rows are uploads, or objects of an allowed bucket; columns are read as the model's inputs of the "
                "same name, or by `mapping`. What can be refused without reading a row is refused at once; format, "
                "columns, types and the first 1,000 rows are looked at before anything runs."
            ),
            parameters=(
                Parameter(name="Idempotency-Key", where="header", description=(
                    "The same key and the same body: the same scoring, in whatever state. Kept for 24 hours."
                )),
            ),
            body=Body(content={"application/json": ScoringWish}, max_bytes=MAX_BYTES),
            answers={202: Answer(description="Accepted", content=one, headers={"Location": "the scoring"})},
            errors=(
                "invalid_input", "malformed_body", "unknown_model", "not_loaded", "payload_too_large",
                "unsupported_media_type", "idempotency_mismatch", "quota_exceeded", "objects_unavailable",
            ),
        ),
        Route(
            method="GET", path="/v1/scorings", view=views.page, name="listScorings", tag="scorings",
            scope="read",
            summary="Your scorings, newest first",
            parameters=(
                Parameter(name="status", schema={"type": "string", "enum": list(STATES)}),
                Parameter(name="model"),
                Parameter(
                    name="limit",
                    schema={"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
                ),
                Parameter(name="cursor", description="`next_cursor` of the page before"),
            ),
            answers={200: Answer(description="A page", content={"application/json": ScoringPage})},
            errors=("invalid_input",),
        ),
        Route(
            method="GET", path=path, view=views.get, name="getScoring", tag="scorings",
            scope="read",
            summary="How far a scoring is, and what came of it",
            parameters=(Parameter(name="If-None-Match", where="header", description="An `ETag` from before."),),
            answers={
                200: Answer(description="The scoring", content=one, headers={
                    "ETag": "names this very state of it", "Retry-After": "seconds; while it has not ended",
                }),
                304: Answer(description="As it was"),
            },
            errors=("not_found", "result_expired"),
        ),
        Route(
            method="POST", path=path + "/cancel", view=views.cancel, name="cancelScoring", tag="scorings",
            scope="submit",
            summary="Begin no more rows",
            description="What is done stays, and becomes the output. One that has ended stays as it is.",
            answers={200: Answer(description="The scoring as it is now", content=one)},
            errors=("not_found", "result_expired"),
        ),
        Route(
            method="POST", path=path + "/retry-failed", view=views.retry_failed, name="retryFailedRows",
            tag="scorings", scope="submit",
            summary="Run the failed rows again",
            description="Under the same id; at its end the output holds the rows of every round, in the input's order.",
            answers={202: Answer(description="Begun", content=one, headers={"Location": "the scoring"})},
            errors=(
                "not_found", "result_expired", "not_ready", "already_terminal", "input_changed", "quota_exceeded",
                "objects_unavailable",
            ),
        ),
        Route(
            method="DELETE", path=path, view=views.delete, name="deleteScoring", tag="scorings",
            scope="submit",
            summary="Erase a scoring, its output and its errors",
            description="One that has not ended is canceled by it. Its input, where that was uploaded, stays.",
            answers={204: Answer(description="Erased")}, errors=("not_found", "result_expired"),
        ),
    ]  # fmt: skip
