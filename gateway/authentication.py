"""Who asks: the tenant that belongs to the request's API key."""

import ipaddress
import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from errors import Forbidden, OperatorError, StoreUnavailable, Unauthenticated
from settings import Settings
from storage.access import SCOPES, Access, Grant, Scope, digest
from storage.clock import wall_ms

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

#: Seconds that a key is trusted without asking the store again: how long a revoked one may still work.
FRESH_S = 5.0
#: Keys remembered at once.
REMEMBERED = 10_000
#: The tenant of whoever asks an embedded farm on loopback without a key.
LOCAL = "local"
#: Whoever reaches such a farm could as well change its files.
LOCAL_GRANT = Grant(id="", tenant=LOCAL, scopes=SCOPES)
#: Seconds between two notes of a key's use, by one process.
NOTED_S = 60.0
_BEARER = re.compile(r"bearer +(\S+) *", re.IGNORECASE)


class Authentication:
    """Turns the `Authorization` header into a tenant."""

    def __init__(self, access: Access, settings: Settings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._access = access
        self._keyless = settings.embedded and is_loopback(settings.host)
        self._clock = clock
        #: By the key's digest: what it allows, and until when that is trusted.
        self._known: dict[str, tuple[Grant, float]] = {}
        #: By the key's id: when its use is to be noted again.
        self._noted: dict[str, float] = {}
        self._lock = threading.Lock()

    def allowed(self, environ: "WSGIEnvironment", scope: Scope | None) -> Grant:
        """What the asking key may do; raises Unauthenticated, Forbidden where it lacks `scope`, StoreUnavailable."""
        grant = self.grant(environ)
        if scope is not None and scope not in grant.scopes:
            raise Forbidden(
                f"this takes a key with the scope {scope!r}, and this one has {', '.join(grant.scopes)}", scope=scope
            )
        return grant

    def grant(self, environ: "WSGIEnvironment") -> Grant:
        """What the asking key may do; raises Unauthenticated, Forbidden for a foreign page, StoreUnavailable."""
        header = environ.get("HTTP_AUTHORIZATION")
        if header is None:
            if not self._keyless:
                raise Unauthenticated("send an API key: Authorization: Bearer psk_…")
            refuse_foreign_pages(environ)
            return LOCAL_GRANT
        match = _BEARER.fullmatch(header)
        if match is None:
            raise Unauthenticated("the Authorization header must be: Bearer psk_…")
        return self._grant_of(match[1])

    def remembers(self, environ: "WSGIEnvironment") -> bool:
        """Whether it is known, without asking the store, that such a request is let in."""
        header = environ.get("HTTP_AUTHORIZATION")
        if header is None:
            return self._keyless
        match = _BEARER.fullmatch(header)
        known = self._known.get(digest(match[1])) if match else None
        return known is not None and self._clock() < known[1]

    def _grant_of(self, key: str) -> Grant:
        name = digest(key)
        known = self._known.get(name)
        if known is not None and self._clock() < known[1]:
            return known[0]
        grant = self._access.check(key)
        if grant is None:
            raise Unauthenticated("this API key is not known, or has expired")
        now_ms, trusted_s = wall_ms(), FRESH_S
        if grant.expires_ms:
            trusted_s = min(trusted_s, (grant.expires_ms - now_ms) / 1000)
        with self._lock:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[name] = (grant, self._clock() + trusted_s)
        self._note(grant.id, now_ms)
        return grant

    def _note(self, id: str, now_ms: int) -> None:
        """Keep when the key was used, to within a minute."""
        now_s = self._clock()
        with self._lock:
            if now_s < self._noted.get(id, 0.0):
                return
            if len(self._noted) >= REMEMBERED:
                self._noted.clear()
            self._noted[id] = now_s + NOTED_S
        # Nobody's request fails for it: a store that takes no writes now may well answer reads.
        with suppress(StoreUnavailable):
            self._access.used(id, at_ms=now_ms)


def refuse_foreign_pages(environ: "WSGIEnvironment") -> None:
    """Without a key, loopback is the only guard, and a web page in a browser of this machine stands behind it.

    So a page from elsewhere is refused by its Origin, and a name that was made to point here (DNS rebinding) by
    the Host that it asks for.
    """
    if reason := foreign(environ.get("HTTP_HOST", ""), environ.get("HTTP_ORIGIN")):
        raise Forbidden(reason)


@lru_cache(maxsize=1024)
def foreign(host: str, origin: str | None) -> str:
    """Why a request to `host` from a page of `origin` is refused; empty when it is not."""
    if not is_loopback(hostname(f"//{host}")):
        return "without an API key the farm answers to localhost only"
    if origin is not None and origin.partition("://")[2] != host:
        return "without an API key the farm does not answer pages from elsewhere"
    return ""


def hostname(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def require_keys(access: Access, settings: Settings) -> None:
    """Raises OperatorError where an embedded farm would listen to others without any API key."""
    if settings.embedded and not is_loopback(settings.host) and not access.any():
        raise OperatorError(
            f"PENSTOCK_HOST is {settings.host}, so others could reach this farm, and it has no API key; "
            "start it on 127.0.0.1 once and make one with: penstock key create --tenant NAME"
        )
