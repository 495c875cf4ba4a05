"""What became of the webhooks of a job, or of a scoring."""

from typing import Annotated

import msgspec
from flask import Response, g, request

from errors import Fault, NotFound
from gateway import bodies
from gateway.answers import answer
from gateway.asking import own_job, own_scoring
from gateway.json_bodies import read_json
from gateway.parts import Parts
from gateway.routes import Answer, Body, Route
from storage.deliveries import MISSING, PENDING, Attempt, Delivery, of_scoring
from tasks.job_object import timestamp

#: Bytes of a body here.
MAX_BYTES = 4096


class AttemptObject(msgspec.Struct, frozen=True, kw_only=True):
    """One sending."""

    at: str | None
    #: HTTP status; null: no answer came.
    status: int | None
    latency_ms: float | None
    #: The first bytes of the answer's body.
    answer: str | None
    #: Why it does not count as delivered; null also while it is on its way.
    error: str | None


class DeliveryObject(msgspec.Struct, frozen=True, kw_only=True):
    """One event on its way to one receiver."""

    #: The `webhook-id` header of every attempt.
    id: str
    object: str = "delivery"
    event: str
    #: The job, or the scoring; for a ping the endpoint.
    job: str
    #: The endpoint; null: the job's own URL.
    webhook: str | None
    url: str
    #: pending, delivered, exhausted (every attempt of the schedule failed) or disabled (as the endpoint is).
    status: str
    created_at: str | None
    next_attempt_at: str | None
    settled_at: str | None
    #: Sendings so far; the newest are listed.
    sendings: int
    attempts: list[AttemptObject]


class DeliveryList(msgspec.Struct, frozen=True, kw_only=True):
    object: str = "list"
    data: list[DeliveryObject]


class Redelivery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    #: Which of the deliveries; null: every one that is not on its way.
    delivery: Annotated[str, msgspec.Meta(max_length=128)] | None = None


_redelivery = msgspec.json.Decoder(Redelivery)


class DeliveryViews:
    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    def all(self, id: str) -> Response:
        return answer(shown_list(self.parts.deliveries.of(own_job(self.parts, id).id)))

    def all_of_scoring(self, id: str) -> Response:
        return answer(shown_list(self.parts.deliveries.of(of_scoring(own_scoring(self.parts, id).id))))

    def redeliver(self, id: str) -> Response:
        return self.again(own_job(self.parts, id).id, f"job {id}")

    def redeliver_of_scoring(self, id: str) -> Response:
        return self.again(of_scoring(own_scoring(self.parts, id).id), f"scoring {id}")

    def again(self, subject: str, name: str) -> Response:
        """Send what is listed under `subject` again; raises NotFound where there is nothing, or not what is asked."""
        body = bodies.json_text(request.environ, MAX_BYTES, optional=True)
        wanted = read_json(body or b"{}", _redelivery).delivery
        found = self.parts.deliveries.of(subject)
        chosen = [one for one in found if (one.id == wanted if wanted else one.state != PENDING)]
        if wanted and not chosen:
            raise NotFound(f"{name} has no delivery {wanted[:80]!r}", faults=[Fault("#/delivery", "is not there")])
        gone = [one for one in chosen if self.parts.deliveries.redeliver(one) == MISSING]
        if not found or (chosen and len(gone) == len(chosen)):
            raise NotFound(f"{name} has no deliveries: nobody was to be told, or none is kept any more, or none yet")
        # A key that may only submit does not see what receivers have answered.
        seen = self.parts.deliveries.of(subject) if "read" in g.scopes else []
        return answer(shown_list(seen), 202)


def shown_list(deliveries: list[Delivery]) -> DeliveryList:
    return DeliveryList(data=[shown(one) for one in deliveries])


def shown(one: Delivery) -> DeliveryObject:
    return DeliveryObject(
        id=one.id,
        event=one.event,
        job=one.job,
        webhook=one.endpoint or None,
        url=one.url,
        status=one.state,
        created_at=timestamp(one.created_ms),
        next_attempt_at=timestamp(one.next_ms),
        settled_at=timestamp(one.settled_ms),
        sendings=one.sendings,
        attempts=[attempt(each) for each in one.attempts],
    )


def attempt(one: Attempt) -> AttemptObject:
    return AttemptObject(
        at=timestamp(one.at_ms),
        status=one.status or None,
        latency_ms=one.latency_ms if one.status else None,
        answer=one.answer if one.status else None,
        error=one.error or None,
    )


def routes(parts: Parts) -> list[Route]:
    views = DeliveryViews(parts)
    listed = {"application/json": DeliveryList}
    return [
        Route(
            method="GET", path="/v1/jobs/<id>/deliveries", view=views.all, name="listDeliveries", tag="webhooks",
            scope="read",
            summary="What became of a job's webhooks, each attempt",
            answers={200: Answer(description="The deliveries, oldest first", content=listed)},
            errors=("not_found", "result_expired"),
        ),
        Route(
            method="POST", path="/v1/jobs/<id>/redeliver", view=views.redeliver, name="redeliver", tag="webhooks",
            scope="submit",
            summary="Send a job's webhooks again, under their ids",
            body=Body(content={"application/json": Redelivery}, required=False, max_bytes=MAX_BYTES),
            answers={202: Answer(description="They are on their way; listed for a key that may read", content=listed)},
            errors=(
                "not_found", "result_expired", "malformed_body", "invalid_input", "unsupported_media_type",
                "payload_too_large",
            ),
        ),
        Route(
            method="GET", path="/v1/scorings/<id>/deliveries", view=views.all_of_scoring, tag="webhooks",
            name="listScoringDeliveries", scope="read",
            summary="What became of a scoring's webhooks, each attempt",
            answers={200: Answer(description="The deliveries, oldest first", content=listed)},
            errors=("not_found", "result_expired"),
        ),
        Route(
            method="POST", path="/v1/scorings/<id>/redeliver", view=views.redeliver_of_scoring, tag="webhooks",
            name="redeliverScoring", scope="submit",
            summary="Send a scoring's webhooks again, under their ids",
            body=Body(content={"application/json": Redelivery}, required=False, max_bytes=MAX_BYTES),
            answers={202: Answer(description="They are on their way; listed for a key that may read", content=listed)},
            errors=(
                "not_found", "result_expired", "malformed_body", "invalid_input", "unsupported_media_type",
                "payload_too_large",
            ),
        ),
    ]  # fmt: skip
