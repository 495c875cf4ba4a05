"""From an event in the outbox to a delivery for each that subscribed to it."""

import hashlib
import logging
from collections.abc import Iterator

from errors import StoreUnavailable, TargetRefused
from settings import Settings
from storage.deliveries import Deliveries, Entry, Planned
from storage.jobs import JobStore
from storage.scorings import Scorings
from storage.webhooks import SCORING_EVENTS, Endpoints
from tasks.message import readable
from tasks.webhooks.addresses import read
from tasks.webhooks.body import PING, body_of, ping, scoring_body

log = logging.getLogger(__name__)


class Expander:
    def __init__(
        self, jobs: JobStore, scorings: Scorings, endpoints: Endpoints, deliveries: Deliveries, *, base: str
    ) -> None:
        """`base`: the gateway's address as receivers may use it."""
        self._jobs = jobs
        self._scorings = scorings
        self._endpoints = endpoints
        self._deliveries = deliveries
        self._base = base
        self._stuck: set[str] = set()

    def tick(self, *, limit: int) -> int:
        """Expand what stands in the outbox, oldest first; returns how much was found."""
        entries = self._deliveries.outbox(limit=limit + len(self._stuck))
        for entry in entries:
            if entry.member not in self._stuck:
                self._try(entry)
        return len(entries) - len(self._stuck)

    def _try(self, entry: Entry) -> None:
        try:
            self.expand(entry)
        except StoreUnavailable:
            raise
        # A mistake of ours with one event keeps no other from being told; this one stays for a process that knows more.
        except Exception:
            log.exception("an event cannot be told of", extra={"job": entry.job, "event": entry.event})
            self._stuck.add(entry.member)

    def expand(self, entry: Entry) -> None:
        if entry.event == PING:
            return self._ping(entry)
        if entry.event in SCORING_EVENTS:
            return self._scoring(entry)
        job = self._deliveries.ended(entry) or self._jobs.get(entry.job)
        message = readable(job.message) if job else None
        if job is None or message is None:
            log.warning("an event's job is gone, nobody is told", extra={"job": entry.job, "event": entry.event})
            self._deliveries.expand(entry, [], b"")
            return
        webhook = message.webhook
        own = webhook.url if webhook is not None and entry.event in webhook.events else ""
        planned = list(self._planned(job.tenant, own, entry))
        body = body_of(job, message, event=entry.event, at_ms=entry.at_ms, base=self._base)
        self._deliveries.expand(entry, planned, body)

    def _ping(self, entry: Entry) -> None:
        tenant, _, id = entry.job.partition("/")
        one = self._endpoints.find(tenant, id)
        planned = [Planned(delivery_id(entry, id), entry.job, PING, id, one.url)] if one else []
        self._deliveries.expand(entry, planned, ping(id, at_ms=entry.at_ms))

    def _scoring(self, entry: Entry) -> None:
        scoring = self._scorings.ended(entry.job, entry.number) or self._scorings.get(entry.job)
        if scoring is None:
            log.warning("an event's scoring is gone, nobody is told", extra={"job": entry.job, "event": entry.event})
            self._deliveries.expand(entry, [], b"")
            return
        spec = scoring.spec
        own = spec.webhook_url if entry.event in spec.webhook_events else ""
        planned = list(self._planned(spec.tenant, own, entry))
        body = scoring_body(scoring, event=entry.event, at_ms=entry.at_ms, base=self._base)
        self._deliveries.expand(entry, planned, body)

    def _planned(self, tenant: str, own: str, entry: Entry) -> Iterator[Planned]:
        """`own`: the URL that whoever submitted it named for this event; empty without one."""
        if own:
            yield Planned(delivery_id(entry, ""), f"{tenant}/@{host(own)}", entry.event, "", own)
        for one in self._endpoints.all(tenant):
            if not one.disabled and entry.event in one.events:
                yield Planned(delivery_id(entry, one.id), f"{tenant}/{one.id}", entry.event, one.id, one.url)


def delivery_id(entry: Entry, endpoint: str) -> str:
    """The `webhook-id`: the same however often the event is expanded."""
    return "msg_" + hashlib.sha256(f"{entry.member}:{endpoint}".encode()).hexdigest()[:32]


def host(url: str) -> str:
    """What of a job's URL names its receiver; a URL that nothing can be sent to has a queue as well."""
    try:
        return read(url).authority
    except TargetRefused:
        return "-"


def base_of(settings: Settings) -> str:
    """The gateway's address in webhooks, where no request says how the client reaches it."""
    return settings.public_url.rstrip("/") or f"http://{settings.host}:{settings.port}"
