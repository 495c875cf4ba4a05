"""Tells the store which submissions the broker has confirmed, for whoever waits with the same Idempotency-Key.

In the background, many in one round trip: the client that was first need not wait for it. A process that dies
before has only made the other one wait longer, and publish once more.
"""

import logging
import threading

from errors import StoreUnavailable
from storage.jobs import JobStore

log = logging.getLogger(__name__)


class Confirmations:
    def __init__(self, jobs: JobStore) -> None:
        self._jobs = jobs
        self._ids: list[str] = []
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def add(self, id: str) -> None:
        with self._wake:
            self._ids.append(id)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="confirmations", daemon=True)
                self._thread.start()
            self._wake.notify()

    def close(self) -> None:
        """Tell what is to be told, then end."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._ids and not self._closed:
                    self._wake.wait()
                ids, self._ids = self._ids, []
            if not ids:
                return
            try:
                self._jobs.confirm(*ids)
            except StoreUnavailable as error:
                log.warning("confirmations lost", extra={"jobs": len(ids), "reason": error.detail})
