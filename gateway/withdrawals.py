"""Submissions that were refused while the store was away, and may have left a record: withdrawn when it is back."""

import logging
import threading

from errors import StoreUnavailable
from storage.job import NewJob
from storage.jobs import JobStore

log = logging.getLogger(__name__)

#: Seconds between tries.
PAUSE_S = 1.0
#: Submissions remembered; more than a store that is away can be asked for in its deadline.
LIMIT = 10_000


class Withdrawals:
    """Withdraws in the background, for as long as this process lives."""

    def __init__(self, jobs: JobStore) -> None:
        self._jobs = jobs
        self._pending: dict[str, NewJob] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    def add(self, record: NewJob) -> None:
        with self._lock:
            if len(self._pending) < LIMIT:
                self._pending[record.id] = record
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="withdrawals", daemon=True)
                self._thread.start()

    def close(self) -> None:
        self._closed.set()

    def _run(self) -> None:
        while not self._closed.wait(PAUSE_S):
            with self._lock:
                records = list(self._pending.values())
                if not records:
                    self._thread = None
                    return
            self._try(records)

    def _try(self, records: list[NewJob]) -> None:
        for record in records:
            try:
                status = self._jobs.withdraw(record)
            except StoreUnavailable:
                return
            log.info("withdrawn after all", extra={"job": record.id, "status": status})
            with self._lock:
                del self._pending[record.id]
