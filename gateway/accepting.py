"""Submissions accepted in groups: those that come while store and broker are busy with others go together.

A thread that finds nobody before it makes its record itself, so that a lone request pays for no hand-over; what
comes meanwhile is taken by one thread in one round trip. Each request then waits once, for the broker's confirm.
Under load that is what counts: a request that talks to the store by itself gives up and takes back Python's lock
at every step (measured with 64 clients that submit and long-poll: 45 context switches a job, 32 with this and with
`gateway.waiting` reading records in groups; a third more jobs a second).
"""

import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

from errors import BrokerUnavailable, PenstockError, QueueFull, StoreUnavailable
from storage.job import NewJob
from storage.jobs import Creation, JobStore
from tasks.message import Message
from tasks.publisher import Outgoing, Publisher, Ticket

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

    def __init__(self, prepared: Prepared, idempotency: Idempotency | None, deadline: float) -> None:
        self.prepared = prepared
        self.idempotency = idempotency
        record = prepared.record
        #: Settled by the publisher, or here where there is nothing to publish.
        self.ticket = Ticket(Outgoing(record.queue, record.id, prepared.body), deadline)
        #: The store's word; None while, and if, there is none.
        self.creation: Creation | None = None

    def outcome(self) -> PenstockError | None:
        """Waits for the end; None, or why the submission failed: StoreUnavailable, BrokerUnavailable, QueueFull."""
        try:
            self.ticket.wait()
        except (BrokerUnavailable, QueueFull, StoreUnavailable) as error:
            if self.creation is None and isinstance(error, BrokerUnavailable):
                return StoreUnavailable("the job store does not answer in time", retry_after_s=error.retry_after_s)
            return error
        return None


class Acceptor:
    """Makes records and publishes messages, for many threads."""

    def __init__(self, jobs: JobStore, publisher: Publisher, *, deadline_s: float) -> None:
        self._jobs = jobs
        self._publisher = publisher
        self._deadline_s = deadline_s
        self._queue: list[Entry] = []
        self._wake = threading.Condition()
        #: Somebody makes records now.
        self._busy = False
        #: It is the thread's turn.
        self._handed = False
        self._thread: threading.Thread | None = None

    def accept(self, wanted: Sequence[tuple[Prepared, Idempotency | None]]) -> list[Entry]:
        """Records made, messages published; ask each entry for its `outcome`."""
        deadline = time.monotonic() + self._deadline_s
        entries = [Entry(prepared, idempotency, deadline) for prepared, idempotency in wanted]
        with self._wake:
            alone = not self._busy
            self._busy = True
            if not alone:
                self._queue.extend(entries)
        if alone:
            try:
                self._make(entries)
            finally:
                self._hand_over()
        return entries

    def _hand_over(self) -> None:
        with self._wake:
            if not self._queue:
                self._busy = False
                return
            self._handed = True
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="acceptor", daemon=True)
                self._thread.start()
            self._wake.notify()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._handed:
                    self._wake.wait()
                group, self._queue = self._queue[:GROUP], self._queue[GROUP:]
                if not group:
                    self._handed = self._busy = False
                    continue
            now = time.monotonic()
            # Those whose time is over were told so: their records must not come to be any more.
            self._make([entry for entry in group if now < entry.ticket.deadline])

    def _make(self, entries: list[Entry]) -> None:
        try:
            creations = self._jobs.create_all(
                [(entry.prepared.record, entry.prepared.limit) for entry in entries],
                idempotency=[entry.idempotency or ("", "") for entry in entries],
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
