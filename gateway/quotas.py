"""Quotas as this process knows them, a few seconds old, and what each request takes of its tenant's rates.

Where no tenant has a quota a request costs the look-up of a name, and nothing is asked of the store.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from errors import PenstockError, QuotaExceeded
from gateway.suspending import blocking
from storage.quotas import UNLIMITED, Quota, Quotas

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

log = logging.getLogger(__name__)

#: Seconds until the store is asked again.
FRESH_S = 2.0
#: Seconds that a client is told to wait whose jobs in flight are too many.
IN_FLIGHT_RETRY_S = 2.0


class Toll:
    """Holds requests to their tenant's quota."""

    def __init__(self, quotas: Quotas, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._quotas = quotas
        self._clock = clock
        self._known: dict[str, Quota] = {}
        #: Tenants to the jobs that they may have in flight.
        self.in_flight: dict[str, int] = {}
        self._until_s = 0.0
        self._asking = threading.Lock()

    def of(self, tenant: str) -> Quota:
        """The tenant's quota; what is too old is asked for in a thread, and used once more meanwhile."""
        if self._clock() >= self._until_s and self._asking.acquire(blocking=False):
            self._until_s = self._clock() + FRESH_S
            threading.Thread(target=self._ask, name="quotas", daemon=True).start()
        return self._known.get(tenant, UNLIMITED)

    def look(self) -> None:
        """Ask the store now; raises StoreUnavailable."""
        known = self._quotas.all()
        self.in_flight = {tenant: quota.max_in_flight for tenant, quota in known.items() if quota.max_in_flight}
        self._known = known
        self._until_s = self._clock() + FRESH_S

    def close(self) -> None:
        """Let what is being asked end, and ask no more."""
        self._asking.acquire()

    def _ask(self) -> None:
        try:
            self.look()
        # What was known is used until the store answers.
        except PenstockError as error:
            log.warning("quotas could not be read", extra={"reason": error.detail})
        finally:
            self._asking.release()

    async def enter(self, tenant: str, environ: "WSGIEnvironment", *, most: int) -> None:
        """Take a request's share before it is handled; raises QuotaExceeded, or StoreUnavailable.

        `most`: bytes of the largest body that its route takes.
        """
        quota = self.of(tenant)
        if quota.rated:
            await blocking(lambda: self.pay(tenant, quota, announced(environ, most)))

    def enter_thread(self, tenant: str, environ: "WSGIEnvironment", *, most: int) -> None:
        """As `enter`, in a thread that may block."""
        quota = self.of(tenant)
        if quota.rated:
            self.pay(tenant, quota, announced(environ, most))

    def pay(self, tenant: str, quota: Quota, size: int) -> None:
        wait_s, which = self._quotas.spend(tenant, quota, bytes=size)
        if wait_s:
            rate = quota.requests_per_s if which == "requests" else quota.bytes_per_s
            raise QuotaExceeded(f"tenant {tenant!r} may send {rate:g} {which} a second", retry_after_s=wait_s)

    def leave(self, tenant: str, environ: "WSGIEnvironment") -> None:
        """A body whose length was not announced is counted once it was read; raises StoreUnavailable."""
        quota = self.of(tenant)
        taken = getattr(environ.get("wsgi.input"), "taken", 0)
        if quota.bytes_per_s and taken and not environ.get("CONTENT_LENGTH"):
            self._quotas.spend(tenant, quota, bytes=taken, let_in=True)


def too_many(tenant: str, flying: str | int, most: int) -> QuotaExceeded:
    return QuotaExceeded(
        f"tenant {tenant!r} has {flying} jobs queued or running; its limit is {most}", retry_after_s=IN_FLIGHT_RETRY_S
    )


def announced(environ: "WSGIEnvironment", most: int) -> int:
    """Bytes that a request is going to send, `most` at most: beyond that nothing is read of it."""
    text = environ.get("CONTENT_LENGTH") or ""
    return min(most, int(text[:20])) if text.isascii() and text.isdigit() else 0
