"""Webhook endpoints of a tenant: where its jobs are reported to, and the secrets that sign the reports."""

from typing import Annotated, Literal

import msgspec
from flask import Response, g, request
from msgspec import Meta

from errors import Fault, Forbidden, InvalidInput
from gateway import bodies
from gateway.answers import answer, bare
from gateway.asking import base_url
from gateway.json_bodies import read_json
from gateway.parts import Parts
from gateway.routes import Answer, Body, Route
from gateway.views.deliveries import DeliveryList, shown_list
from storage.webhooks import ASKED, DEFAULT, LONGEST_OVERLAP_S, OVERLAP_S, Condition, Endpoint, new_secret
from tasks.job_object import timestamp
from tasks.webhooks.addresses import check_url

Event = Literal["job.started", "job.completed", "scoring.progress", "scoring.completed"]
Events = Annotated[tuple[Event, ...], Meta(min_length=1, max_length=8)]
Url = Annotated[str, Meta(min_length=1, max_length=2048)]
Text = Annotated[str, Meta(max_length=512)]
#: Bytes of a body here.
MAX_BYTES = 16 * 1024


class EndpointWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An endpoint to be made."""

    url: Url
    events: Events = ("job.completed",)
    description: Text = ""


class EndpointChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be another; what is left out stays."""

    url: Url | None = None
    events: Events | None = None
    description: Text | None = None
    enabled: bool | None = None


class Rotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    #: Seconds that the secret before keeps signing beside the new one; 0: it is void at once.
    overlap_s: Annotated[float, Meta(ge=0, le=LONGEST_OVERLAP_S)] = OVERLAP_S


class EndpointObject(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """A webhook endpoint."""

    id: str
    object: str = "webhook"
    #: null: whatever URL a job names.
    url: str | None
    events: tuple[str, ...]
    description: str
    enabled: bool
    #: asked; gone: it answered 410; failing: for five days nothing but failures came back.
    disabled_reason: str | None
    disabled_at: str | None
    #: Since when nothing but failures came back.
    failing_since: str | None
    delivered_at: str | None
    created_at: str | None
    #: Until when the secret before the newest signs as well.
    old_secret_until: str | None


class NewEndpointObject(EndpointObject, frozen=True, kw_only=True):
    """An endpoint with its newest secret, which is shown this once."""

    secret: str


class EndpointList(msgspec.Struct, frozen=True, kw_only=True):
    object: str = "list"
    data: list[EndpointObject]


_wish = msgspec.json.Decoder(EndpointWish)
_change = msgspec.json.Decoder(EndpointChange)
_rotation = msgspec.json.Decoder(Rotation)


class WebhookViews:
    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.endpoints = parts.endpoints

    def create(self) -> Response:
        may_read()
        wish = read_json(bodies.json_text(request.environ, MAX_BYTES), _wish)
        check_url(wish.url, self.parts.policy, pointer="#/url")
        made = self.endpoints.create(g.tenant, wish.url, events=wish.events, description=wish.description)
        location = f"{base_url(self.parts, request.environ)}/v1/webhooks/{made.id}"
        return answer(self.with_secret(made), 201, {"Location": location})

    def all(self) -> Response:
        found = self.endpoints.all(g.tenant)
        conditions = self.endpoints.conditions([f"{g.tenant}/{one.id}" for one in found])
        return answer(EndpointList(data=[shown(*pair) for pair in zip(found, conditions, strict=True)]))

    def get(self, id: str) -> Response:
        return answer(self.show(self.endpoints.get(g.tenant, id)))

    def change(self, id: str) -> Response:
        may_read()
        self.endpoints.get(g.tenant, id)
        wish = read_json(bodies.json_text(request.environ, MAX_BYTES), _change)
        if wish.url is not None:
            check_url(wish.url, self.parts.policy, pointer="#/url")
        return self.changed(id, wish)

    def enable(self, id: str) -> Response:
        return self.changed(id, EndpointChange(enabled=True))

    def disable(self, id: str) -> Response:
        return self.changed(id, EndpointChange(enabled=False))

    def changed(self, id: str, wish: EndpointChange) -> Response:
        may_read()
        self.endpoints.get(g.tenant, id)
        now_ms = self.endpoints.now_ms()

        def step(one: Endpoint) -> Endpoint:
            given = {
                name: value for name in ("url", "events", "description") if (value := getattr(wish, name)) is not None
            }
            one = msgspec.structs.replace(one, **given)
            if wish.enabled is None:
                return one
            return one.enable() if wish.enabled else one.disable(ASKED, now_ms=now_ms)

        return answer(self.show(self.endpoints.change(g.tenant, id, step)))

    def remove(self, id: str) -> Response:
        may_read()
        self.endpoints.remove(g.tenant, id)
        return bare(204, {})

    def rotate(self, id: str) -> Response:
        may_read()
        if id == DEFAULT:
            self.endpoints.default(g.tenant)
        else:
            self.endpoints.get(g.tenant, id)
        overlap_s = read_json(bodies.json_text(request.environ, MAX_BYTES, optional=True) or b"{}", _rotation).overlap_s
        secret, now_ms = new_secret(), self.endpoints.now_ms()
        done = self.endpoints.change(g.tenant, id, lambda one: one.rotated(secret, now_ms=now_ms, overlap_s=overlap_s))
        return answer(self.with_secret(done))

    def test(self, id: str) -> Response:
        may_read()
        endpoint = self.endpoints.get(g.tenant, id)
        if endpoint.disabled:
            raise InvalidInput(
                f"webhook endpoint {id} is disabled: enable it first", faults=[Fault("#", "is disabled")]
            )
        self.parts.deliveries.ping(g.tenant, id)
        return answer(self.waiting(id), 202)

    def deliveries(self, id: str) -> Response:
        self.endpoints.get(g.tenant, id)
        return answer(self.waiting(id))

    def waiting(self, id: str) -> DeliveryList:
        return shown_list(self.parts.deliveries.to(f"{g.tenant}/{id}"))

    def show(self, endpoint: Endpoint) -> EndpointObject:
        return shown(endpoint, *self.endpoints.conditions([f"{g.tenant}/{endpoint.id}"]))

    def with_secret(self, endpoint: Endpoint) -> NewEndpointObject:
        plain = self.show(endpoint)
        return NewEndpointObject(**msgspec.structs.asdict(plain), secret=endpoint.secrets[0].value)


def may_read() -> None:
    """Raises Forbidden for a key that may not read jobs: an endpoint is a way to read them all."""
    if "read" not in g.scopes:
        raise Forbidden("webhook endpoints are told of all jobs: this takes a key that may read them", scope="read")


def shown(endpoint: Endpoint, condition: Condition) -> EndpointObject:
    old = max((one.until_ms for one in endpoint.secrets[1:]), default=0)
    return EndpointObject(
        id=endpoint.id,
        url=endpoint.url or None,
        events=endpoint.events,
        description=endpoint.description,
        enabled=not endpoint.disabled,
        disabled_reason=endpoint.disabled or None,
        disabled_at=timestamp(endpoint.disabled_ms),
        failing_since=timestamp(condition.failing_ms),
        delivered_at=timestamp(condition.good_ms),
        created_at=timestamp(endpoint.created_ms),
        old_secret_until=timestamp(old),
    )


def routes(parts: Parts) -> list[Route]:
    views = WebhookViews(parts)
    one = {200: Answer(description="The endpoint as it is now", content={"application/json": EndpointObject})}
    wrong = ("malformed_body", "invalid_input", "unsupported_media_type", "payload_too_large")
    waiting = {"application/json": DeliveryList}
    path = "/v1/webhooks/<id>"
    return [
        Route(
            method="POST", path="/v1/webhooks", view=views.create, name="createWebhook", tag="webhooks",
            scope="submit",
            summary="Report every job of the tenant to a URL",
            description="The answer holds the secret that signs the reports; it is not shown again.",
            body=Body(content={"application/json": EndpointWish}, max_bytes=MAX_BYTES),
            answers={
                201: Answer(
                    description="The endpoint, with its secret", content={"application/json": NewEndpointObject},
                    headers={"Location": "the endpoint"},
                )
            },
            errors=wrong,
        ),
        Route(
            method="GET", path="/v1/webhooks", view=views.all, name="listWebhooks", tag="webhooks",
            scope="read",
            summary="The tenant's webhook endpoints",
            answers={200: Answer(description="All of them, oldest first", content={"application/json": EndpointList})},
        ),
        Route(
            method="GET", path=path, view=views.get, name="getWebhook", tag="webhooks",
            scope="read",
            summary="A webhook endpoint", answers=one, errors=("not_found",),
        ),
        Route(
            method="PATCH", path=path, view=views.change, name="changeWebhook", tag="webhooks",
            scope="submit",
            summary="Change a webhook endpoint",
            body=Body(content={"application/json": EndpointChange}, max_bytes=MAX_BYTES),
            answers=one, errors=("not_found", *wrong),
        ),
        Route(
            method="DELETE", path=path, view=views.remove, name="deleteWebhook", tag="webhooks",
            scope="submit",
            summary="Remove a webhook endpoint",
            description="What was on its way there is not sent any more.",
            answers={204: Answer(description="Removed")}, errors=("not_found",),
        ),
        Route(
            method="POST", path=path + "/rotate", view=views.rotate, name="rotateWebhook", tag="webhooks",
            scope="submit",
            summary="Give a webhook endpoint a new secret",
            description=(
                "Until the overlap is over, both secrets sign. The id `default` stands for the tenant's own secret, "
                "which signs what is sent to the URLs that jobs name."
            ),
            body=Body(content={"application/json": Rotation}, required=False, max_bytes=MAX_BYTES),
            answers={
                200: Answer(
                    description="The endpoint, with its new secret", content={"application/json": NewEndpointObject}
                )
            },
            errors=("not_found", *wrong),
        ),
        Route(
            method="POST", path=path + "/enable", view=views.enable, name="enableWebhook", tag="webhooks",
            scope="submit",
            summary="Report jobs to an endpoint again", answers=one, errors=("not_found",),
        ),
        Route(
            method="POST", path=path + "/disable", view=views.disable, name="disableWebhook", tag="webhooks",
            scope="submit",
            summary="Report no job to an endpoint until it is enabled",
            description="What was on its way there is not sent any more; it can be redelivered later.",
            answers=one, errors=("not_found",),
        ),
        Route(
            method="POST", path=path + "/test", view=views.test, name="testWebhook", tag="webhooks",
            scope="submit",
            summary="Send a `ping` to an endpoint",
            answers={202: Answer(description="It is on its way; what came of it is listed", content=waiting)},
            errors=("not_found", "invalid_input"),
        ),
        Route(
            method="GET", path=path + "/deliveries", view=views.deliveries, name="listWebhookDeliveries",
            scope="read",
            tag="webhooks", summary="What is on its way to an endpoint, and the pings sent there",
            answers={200: Answer(description="100 at most of what is on its way", content=waiting)},
            errors=("not_found",),
        ),
    ]  # fmt: skip
