"""Webhook endpoints: where a tenant's jobs are reported to, and the secrets that sign it.

The secrets lie in Redis as they are, since a signature needs them: whoever can read `penstock:webhooks:*` can forge
webhooks. They are shown once, when they are made.
"""

import base64
import secrets
from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeVar

import msgspec

from errors import InvalidInput, NotFound, StoreUnavailable
from storage import keys
from storage.clock import wall_ms
from storage.connection import Client, store_errors
from storage.scripts import Call, Scripts

#: What the webhook of a job can tell of, and that of a scoring; an endpoint can be told of either.
EVENTS = ("job.started", "job.completed")
SCORING_EVENTS = ("scoring.progress", "scoring.completed")
#: The record that holds the tenant's own secret, which signs what goes to the URL of a job.
DEFAULT = "default"
#: Endpoints of one tenant.
MOST = 20
#: Standard Webhooks: a secret has 24 to 64 random bytes, and is written in base64 behind this.
SECRET_PREFIX = "whsec_"  # nosec B105 # how secrets begin
SECRET_BYTES = 32
#: How long an old secret keeps signing beside a new one where nothing else is said, and at most, seconds.
OVERLAP_S, LONGEST_OVERLAP_S = 24 * 3600, 30 * 24 * 3600
#: Why an endpoint is disabled: somebody asked for it, it answered 410, or nothing but failures came back for days.
ASKED, GONE, FAILING = "asked", "gone", "failing"
#: Others may change the same endpoint at the same time; so often it is tried again.
TRIES = 20


class Secret(msgspec.Struct, frozen=True):
    value: str
    #: Milliseconds since the epoch; 0: until it is rotated.
    until_ms: int = 0


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One address of a tenant, and what it is told. Times are milliseconds since the epoch."""

    id: str
    url: str
    events: tuple[str, ...]
    description: str = ""
    #: Newest first.
    secrets: tuple[Secret, ...] = ()
    created_ms: int = 0
    #: Empty: enabled; else "asked", "gone" or "failing".
    disabled: str = ""
    disabled_ms: int = 0

    def signing(self, now_ms: int) -> tuple[str, ...]:
        """The secrets that sign now, newest first."""
        return tuple(one.value for one in self.secrets if not one.until_ms or one.until_ms > now_ms)

    def rotated(self, secret: str, *, now_ms: int, overlap_s: float) -> "Endpoint":
        """With a new secret; the one before signs for `overlap_s` seconds more."""
        until = now_ms + round(overlap_s * 1000)
        # Two at once: whoever rotates twice within the overlap has reason to be rid of the oldest.
        old = tuple(Secret(one.value, until) for one in self.secrets[:1] if overlap_s)
        return msgspec.structs.replace(self, secrets=(Secret(secret), *old))

    def disable(self, reason: str, *, now_ms: int) -> "Endpoint":
        return self if self.disabled else msgspec.structs.replace(self, disabled=reason, disabled_ms=now_ms)

    def enable(self) -> "Endpoint":
        return msgspec.structs.replace(self, disabled="", disabled_ms=0)


class Condition(NamedTuple):
    """How a target fares. Milliseconds since the epoch, 0: never."""

    #: Since when nothing but failures came back.
    failing_ms: int
    good_ms: int


After = TypeVar("After", bound=Endpoint | None)

_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder(Endpoint).decode


class Endpoints:
    """The tenants' endpoints. Methods raise StoreUnavailable when Redis does not answer."""

    def __init__(self, client: Client, *, now_ms: Callable[[], int] = wall_ms) -> None:
        self._client = client
        self._scripts = Scripts(client)
        self.now_ms = now_ms

    def create(self, tenant: str, url: str, *, events: Iterable[str], description: str = "") -> Endpoint:
        """Make an endpoint with a secret of its own; raises InvalidInput where there are too many."""
        made = Endpoint(
            id="whe_" + secrets.token_hex(12), url=url, events=tuple(dict.fromkeys(events)), description=description,
            secrets=(Secret(new_secret()),), created_ms=self.now_ms(),
        )  # fmt: skip
        self._replace(tenant, made.id, b"", made)
        return made

    def all(self, tenant: str) -> list[Endpoint]:
        """A tenant's endpoints, oldest first."""
        with store_errors():
            found = self._client.hgetall(keys.endpoints(tenant))
        endpoints = [_decode(text) for id, text in found.items() if id != DEFAULT.encode()]
        return sorted(endpoints, key=lambda one: (one.created_ms, one.id))

    def find(self, tenant: str, id: str) -> Endpoint | None:
        with store_errors():
            text = self._client.hget(keys.endpoints(tenant), id)
        return _decode(text) if text else None

    def get(self, tenant: str, id: str) -> Endpoint:
        """One endpoint; raises NotFound (another tenant's too)."""
        found = self.find(tenant, id) if id != DEFAULT else None
        if found is None:
            raise absent(id)
        return found

    def change(self, tenant: str, id: str, step: Callable[[Endpoint], Endpoint]) -> Endpoint:
        """Replace an endpoint by what `step` makes of it; raises NotFound and what `step` raises."""
        return self._changed(tenant, id, step)

    def remove(self, tenant: str, id: str) -> None:
        """Forget an endpoint; raises NotFound."""
        if id == DEFAULT:
            raise absent(id)
        self._changed(tenant, id, lambda _: None)

    def _changed(self, tenant: str, id: str, step: Callable[[Endpoint], After]) -> After:
        for _ in range(TRIES):
            with store_errors():
                before = self._client.hget(keys.endpoints(tenant), id)
            if before is None:
                raise absent(id)
            after = step(_decode(before))
            if self._replace(tenant, id, before, after):
                return after
        raise StoreUnavailable(f"others change webhook {id!r} all the time", retry_after_s=1)

    def default(self, tenant: str) -> Endpoint:
        """What signs webhooks to the URLs of the tenant's jobs; made at first use."""
        while (found := self.find(tenant, DEFAULT)) is None:
            made = Endpoint(
                id=DEFAULT, url="", events=(), secrets=(Secret(new_secret()),), created_ms=self.now_ms()
            )  # fmt: skip
            self._replace(tenant, DEFAULT, b"", made, most=MOST + 1)
        return found

    def conditions(self, targets: list[str]) -> list[Condition]:
        """How each of the targets fares."""
        with store_errors():
            found = self._client.execute_all(
                [("HMGET", keys.condition(one), "failing_ms", "good_ms") for one in targets]
            )
        return [Condition(int(failing or 0), int(good or 0)) for failing, good in found]

    def _replace(
        self, tenant: str, id: str, before: bytes, after: Endpoint | None, *, most: int = MOST
    ) -> bool:  # fmt: skip
        call = Call(
            "endpoint",
            (keys.endpoints(tenant), keys.SUBSCRIBERS, keys.condition(f"{tenant}/{id}")),
            (tenant, id, before, _encode(after) if after else b"", most),
        )
        with store_errors():
            done = self._scripts.run(call)
        if done < 0:
            raise InvalidInput(f"tenant {tenant!r} has {most} webhook endpoints, as many as there may be: remove one")
        return bool(done)


def absent(id: str) -> NotFound:
    return NotFound(f"no webhook endpoint {id[:80]!r}")


def new_secret() -> str:
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
