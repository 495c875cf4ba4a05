"""Webhooks: is what came here from the farm (`verify`), and where the farm sends them (`client.webhooks`).

import json
from penstock.webhooks import verify

event = verify(request.headers, request.get_data(), secret)
"""

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from penstock.errors import UnexpectedAnswer, UnverifiedWebhook
from penstock.job import known

if TYPE_CHECKING:
    from penstock.transport import Transport

SECRET_PREFIX = "whsec_"  # nosec B105 # how secrets begin
#: How far a webhook's time may be from now, seconds: an older one may be a recording.
TOLERANCE_S = 300.0
MOMENTS = (
    "created_at", "disabled_at", "failing_since", "delivered_at", "old_secret_until", "next_attempt_at", "settled_at",
    "at",
)  # fmt: skip


def verify(
    headers: Mapping[str, str],
    body: bytes | str,
    secret: str | Iterable[str],
    *,
    tolerance_s: float = TOLERANCE_S,
    now_s: float | None = None,
) -> dict[str, Any]:
    """The event that `body` holds, once its signature is found right; raises UnverifiedWebhook.

    `headers`: the request's, in any case of letters. `body`: its bytes as they came, before any parser. `secret`: the
    endpoint's `whsec_…`, or several of which one must fit. `now_s`: seconds since the epoch, for tests.
    The same event may come twice: `headers["webhook-id"]` is the same then.
    """
    id, timestamp, signatures = (header(headers, name) for name in ("id", "timestamp", "signature"))
    sent_s = moment(timestamp)
    age_s = (time.time() if now_s is None else now_s) - sent_s
    if abs(age_s) > tolerance_s:
        raise UnverifiedWebhook(
            f"the webhook is {age_s:.0f} s old, and more than {tolerance_s:g} s is not taken: is this clock right?"
        )
    raw = body.encode() if isinstance(body, str) else bytes(body)
    content = f"{id}.{sent_s}.".encode() + raw
    # `v1a` and others are of schemes that this farm does not use.
    given = [one[3:].encode() for one in signatures.split(" ") if one.startswith("v1,")]
    if not any(fits(content, one, given) for one in ([secret] if isinstance(secret, str) else secret)):
        raise UnverifiedWebhook("no signature fits: another secret, or the body is not as it came")
    try:
        event = json.loads(raw)
    except ValueError as error:
        raise UnverifiedWebhook("the body is not JSON") from error
    if not isinstance(event, dict):
        raise UnverifiedWebhook("the body is no JSON object")
    return event


def header(headers: Mapping[str, str], name: str) -> str:
    wanted = "webhook-" + name
    found = [value for key, value in headers.items() if key.lower() == wanted]
    if len(found) != 1 or not found[0]:
        raise UnverifiedWebhook(f"the header {wanted} is {'there twice' if found[1:] else 'missing'}")
    return found[0]


def moment(timestamp: str) -> int:
    # int() would take signs, blanks and underscores.
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise UnverifiedWebhook("the header webhook-timestamp is no number of seconds")
    return int(timestamp)


def fits(content: bytes, secret: str, given: list[bytes]) -> bool:
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("a webhook secret must be base64 behind whsec_") from error
    expected = base64.b64encode(hmac.digest(key, content, hashlib.sha256))
    return any(hmac.compare_digest(expected, one) for one in given)


@dataclass(frozen=True, kw_only=True, slots=True)
class WebhookEndpoint:
    """Where the farm reports this tenant's jobs to."""

    id: str
    #: None: the URLs that jobs name.
    url: str | None = None
    events: tuple[str, ...] = ()
    description: str = ""
    enabled: bool = True
    #: asked, gone (it answered 410) or failing (for five days nothing but failures came back).
    disabled_reason: str | None = None
    disabled_at: datetime | None = None
    failing_since: datetime | None = None
    delivered_at: datetime | None = None
    created_at: datetime | None = None
    #: Until when the secret before signs as well.
    old_secret_until: datetime | None = None
    #: Told once, where it was made.
    secret: str | None = field(default=None, repr=False)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> "WebhookEndpoint":
        values = timed(known(cls, data))
        return cls(**values | {"events": tuple(values.get("events", ())), "raw": data})


@dataclass(frozen=True, kw_only=True, slots=True)
class DeliveryAttempt:
    """One sending of a webhook."""

    at: datetime | None = None
    #: HTTP status; None: no answer came.
    status: int | None = None
    latency_ms: float | None = None
    #: The first bytes of the answer.
    answer: str | None = None
    error: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """One event on its way to one receiver."""

    #: The `webhook-id` header of every attempt.
    id: str
    event: str = ""
    job: str = ""
    #: The endpoint; None: the job's own URL.
    webhook: str | None = None
    url: str = ""
    #: pending, delivered, exhausted or disabled.
    status: str = ""
    created_at: datetime | None = None
    next_attempt_at: datetime | None = None
    settled_at: datetime | None = None
    sendings: int = 0
    attempts: tuple[DeliveryAttempt, ...] = ()
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> "Delivery":
        values = timed(known(cls, data))
        attempts = [DeliveryAttempt(**timed(known(DeliveryAttempt, one))) for one in values.get("attempts", ())]
        return cls(**values | {"attempts": tuple(attempts), "raw": data})


def timed(values: dict[str, Any]) -> dict[str, Any]:
    return {name: datetime.fromisoformat(value) if name in MOMENTS else value for name, value in values.items()}


class Webhooks:
    """This tenant's webhook endpoints, and what became of what was sent."""

    def __init__(self, transport: "Transport") -> None:
        self._transport = transport

    def create(self, url: str, *, events: Iterable[str] = ("job.completed",), description: str = "") -> WebhookEndpoint:
        """Report every job, or scoring, to `url`, as `events` say; raises InvalidInput.

        The answer's `secret` is not shown again.
        """
        wish = {"url": url, "events": list(events), "description": description}
        # Not repeated when its answer is lost: the secret would be lost with it, and a second endpoint made.
        return self._one("POST", "", wish, repeatable=False)

    def list(self) -> "list[WebhookEndpoint]":
        return [WebhookEndpoint.parse(item) for item in self._all("GET", "/v1/webhooks")]

    def get(self, id: str) -> WebhookEndpoint:
        """One endpoint; raises NotFound."""
        return self._one("GET", path(id))

    def change(
        self, id: str, *, url: str | None = None, events: Iterable[str] | None = None, description: str | None = None
    ) -> WebhookEndpoint:
        """Change what is given; raises NotFound or InvalidInput."""
        wish = {"url": url, "events": None if events is None else [*events], "description": description}
        return self._one("PATCH", path(id), {name: value for name, value in wish.items() if value is not None})

    def enable(self, id: str) -> WebhookEndpoint:
        return self._one("POST", path(id) + "/enable")

    def disable(self, id: str) -> WebhookEndpoint:
        """Report nothing more there, not even what is on its way."""
        return self._one("POST", path(id) + "/disable")

    def delete(self, id: str) -> None:
        """Forget an endpoint; raises NotFound."""
        self._transport.send("DELETE", "/v1/webhooks" + path(id))

    def rotate(self, id: str = "default", *, overlap_s: float | None = None) -> WebhookEndpoint:
        """Give an endpoint a new secret; the one before signs for `overlap_s` more seconds, a day by default.

        `default`: the secret for what goes to the URLs that jobs name.
        """
        return self._one("POST", path(id) + "/rotate", {} if overlap_s is None else {"overlap_s": overlap_s}, False)

    def test(self, id: str) -> None:
        """Send a `ping` there; `deliveries` tells what came of it."""
        self._all("POST", "/v1/webhooks" + path(id) + "/test")

    def deliveries(self, id: str) -> Sequence[Delivery]:
        """Of a job or a scoring: what became of its webhooks. Of an endpoint: what is on its way there, and pings."""
        return [Delivery.parse(item) for item in self._all("GET", owner(id) + "/deliveries")]

    def redeliver(self, job_id: str, delivery: str | None = None) -> Sequence[Delivery]:
        """Send the webhooks of a job or a scoring once more, or one of them, under their ids; raises NotFound."""
        body = {} if delivery is None else {"delivery": delivery}
        found = self._all("POST", owner(job_id) + "/redeliver", body)
        return [Delivery.parse(item) for item in found]

    def _one(self, method: str, path: str, body: object = None, repeatable: bool = True) -> WebhookEndpoint:
        return WebhookEndpoint.parse(self._send(method, "/v1/webhooks" + path, body, repeatable))

    def _all(self, method: str, path: str, body: object = None) -> Sequence[Mapping[str, Any]]:
        page = self._send(method, path, body)
        if not isinstance(page.get("data"), list):
            raise UnexpectedAnswer("the answer is no list: is this address a Penstock gateway?")
        return tuple(page["data"])

    def _send(self, method: str, path: str, body: object = None, repeatable: bool = True) -> Mapping[str, Any]:
        content = json.dumps(body).encode() if body is not None else None
        answer = self._transport.send(
            method,
            path,
            headers={"Content-Type": "application/json"} if content else None,
            body=(lambda: content) if content else None,
            repeatable=repeatable,
        ).json()
        if not isinstance(answer, dict):
            raise UnexpectedAnswer("the answer is no object: is this address a Penstock gateway?")
        return answer


def path(id: str) -> str:
    return "/" + quote(id, safe="")


def owner(id: str) -> str:
    """The path of what an id names, by how it begins."""
    if id.startswith("whe_"):
        return "/v1/webhooks" + path(id)
    return ("/v1/scorings" if id.startswith("scr_") else "/v1/jobs") + path(id)
