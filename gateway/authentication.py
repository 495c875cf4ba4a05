"""Who asks: the tenant that belongs to the request's API key."""

import ipaddress
import re
import threading
import time
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from errors import Forbidden, OperatorError, Unauthenticated
from settings import Settings
from storage.access import Access, Grant

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

#: Seconds that a key is trusted without asking the store again: how long a revoked one may still work.
FRESH_S = 5.0
#: Keys remembered at once.
REMEMBERED = 10_000
#: The tenant of whoever asks an embedded farm on loopback without a key.
LOCAL = "local"
#: Whoever reaches such a farm could as well change its files.
LOCAL_GRANT = Grant(id="", tenant=LOCAL, admin=True)
_BEARER = re.compile(r"bearer +(\S+) *", re.IGNORECASE)


class Authentication:
    """Turns the `Authorization` header into a tenant."""

    def __init__(self, access: Access, settings: Settings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._access = access
        self._keyless = settings.embedded and is_loopback(settings.host)
        self._clock = clock
        self._known: dict[str, tuple[Grant, float]] = {}
        self._lock = threading.Lock()

    def tenant(self, environ: "WSGIEnvironment") -> str:
        """The asking tenant; raises Unauthenticated, Forbidden or StoreUnavailable."""
        return self._grant(environ).tenant

    def require_admin(self, environ: "WSGIEnvironment") -> None:
        """Raises Forbidden unless the asking key may change models, and what `tenant` raises."""
        if not self._grant(environ).admin:
            raise Forbidden("this takes an admin key: penstock key create --tenant NAME --admin")

    def _grant(self, environ: "WSGIEnvironment") -> Grant:
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
        """Whether `tenant` would answer such a request without asking the store."""
        header = environ.get("HTTP_AUTHORIZATION")
        if header is None:
            return True
        match = _BEARER.fullmatch(header)
        known = self._known.get(match[1]) if match else None
        return match is None or (known is not None and self._clock() < known[1])

    def _grant_of(self, key: str) -> Grant:
        known = self._known.get(key)
        if known is not None and self._clock() < known[1]:
            return known[0]
        grant = self._access.check(key)
        if grant is None:
            raise Unauthenticated("this API key is not known")
        with self._lock:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[key] = (grant, self._clock() + FRESH_S)
        return grant


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
