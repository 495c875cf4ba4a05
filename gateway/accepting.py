"""Submissions accepted in groups: those that come while store and broker are busy with others go together.

One thread makes the records of all that wait in one round trip and hands the messages to the publisher. Each request
waits once, for the broker's confirm.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from errors import BrokerUnavailable, PenstockError, StoreUnavailable
from gateway.grouping import Grouped
from gateway.suspending import Signal
from storage.job import NewJob
from storage.jobs import Creation, JobStore
from tasks.message import Message
from tasks.publisher import Publisher
from tasks.ticket import Outgoing, Ticket

#: Records made in one round trip.
GROUP = 128
#: Verdicts on a job that must be published; "exists": an earlier try of this very command got through, and only
#: its answer was lost.
NEW = ("created", "exists")


class Prepared(NamedTuple):
    """A job that may be accepted: checked, its large inputs stored."""

    message: Message
    body: bytes
    record: NewJob
    #: Jobs that may wait in the lane.
    limit: int
    #: Keys of the objects made for it.
    moved: list[str]


class Idempotency(NamedTuple):
    """Digests of an Idempotency-Key and of the body it came with."""

    key: str
    body: str


class Entry:
    """One submission on its way."""

    __slots__ = ("creation", "idempotency", "prepared", "ticket")

    def __init__(
        self, prepared: Prepared, idempotency: Idempotency | None, deadline: float, told: Callable[[], None]
    ) -> None:
        self.prepared = prepared
        self.idempotency = idempotency
        record = prepared.record
        #: Settled by the publisher, or here where there is nothing to publish.
        self.ticket = Ticket(Outgoing(record.queue, record.id, prepared.body), deadline, told)
        #: The store's word; None while, and if, there is none.
        self.creation: Creation | None = None

    def outcome(self) -> PenstockError | None:
        """At its end or deadline: None, or why it failed: StoreUnavailable or BrokerUnavailable."""
        try:
            self.ticket.wait()
        except (BrokerUnavailable, StoreUnavailable) as error:
            if self.creation is None and isinstance(error, BrokerUnavailable):
                return StoreUnavailable("the job store does not answer in time", retry_after_s=error.retry_after_s)
            return error
        return None


class Count:
    """Sets a signal once so many things have happened."""

    __slots__ = ("_guard", "_left", "signal")

    def __init__(self, left: int) -> None:
        self._left = left
        self._guard = threading.Lock()
        self.signal: Signal[None] = Signal()
        if not left:
            self.signal.set()

    def down(self) -> None:
        with self._guard:
            self._left -= 1
            done = self._left == 0
        if done:
            self.signal.set()


class Acceptor:
    """Makes records and publishes messages, for many requests."""

    def __init__(
        self, jobs: JobStore, publisher: Publisher, *, deadline_s: float, in_flight: Callable[[], Mapping[str, int]]
    ) -> None:
        """`in_flight`: tenants to the jobs that they may have queued and running, where there is a limit."""
        self._in_flight = in_flight
        self._jobs = jobs
        self._publisher = publisher
        self._deadline_s = deadline_s
        self._waiting: Grouped[Entry] = Grouped("acceptor", self._take, most=GROUP)

    async def accept(self, wanted: Sequence[tuple[Prepared, Idempotency | None]]) -> list[Entry]:
        """Make the records and publish the messages; each entry then has its `outcome`."""
        deadline, count = time.monotonic() + self._deadline_s, Count(len(wanted))
        entries = [Entry(prepared, idempotency, deadline, count.down) for prepared, idempotency in wanted]
        self._waiting.add(entries)
        await count.signal.within(self._deadline_s)
        return entries

    def close(self) -> None:
        self._waiting.close()

    def _take(self, group: list[Entry]) -> None:
        now = time.monotonic()
        # Those whose time is over were told so: their records must not come to be any more.
        self._make([entry for entry in group if now < entry.ticket.deadline])

    def _make(self, entries: list[Entry]) -> None:
        try:
            creations = self._jobs.create_all(
                [(entry.prepared.record, entry.prepared.limit) for entry in entries],
                idempotency=[entry.idempotency or ("", "") for entry in entries],
                in_flight=self._in_flight(),
            )
        # Whatever it is, it is the requests' to report: this thread goes on for others.
        except Exception as error:  # noqa: BLE001
            for entry in entries:
                entry.ticket.settle(error)
            return
        for entry, creation in zip(entries, creations, strict=True):
            entry.creation = creation
        self._publisher.start([entry.ticket for entry in entries if entry.creation and entry.creation.verdict in NEW])
        for entry in entries:
            if entry.creation and entry.creation.verdict not in NEW:
                entry.ticket.settle()
