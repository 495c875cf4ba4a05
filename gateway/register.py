"""What the workers say of themselves, as this process knows it: about a second old."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from errors import StoreUnavailable
from storage.statistics import Figures
from storage.workers import ModelStatus, Workers, WorkerStatus

#: Seconds for which an answer of the store is used again.
FRESH_S = 1.0


class Serving(NamedTuple):
    """One model version on all the workers of one pool."""

    states: frozenset[str]
    #: Executors that are ready.
    executors: int
    #: Milliseconds of computing a row has cost so far; None before the first.
    row_ms: float | None


class Register:
    """The living workers, remembered between requests."""

    def __init__(self, workers: Workers, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._workers = workers
        self._clock = clock
        self._lock = threading.Lock()
        self._serving: dict[tuple[str, str, str], Serving] = {}
        self._until = 0.0

    def all(self) -> list[WorkerStatus]:
        """The living workers; raises StoreUnavailable when the store does not answer."""
        known = self._workers.all()
        self._remember(known)
        return known

    def figures(self, versions: Sequence[tuple[str, str, str]]) -> list[Figures]:
        """What was ever done, for each pool, model and version; raises StoreUnavailable."""
        return self._workers.figures(versions)

    def serving(self, pool: str, model: str, version: str) -> Serving | None:
        """Who serves one model version in `pool`; None where nobody does. Never raises: it may be out of date."""
        if self._clock() >= self._until and self._lock.acquire(blocking=False):
            try:
                self._remember(self._workers.all())
            except StoreUnavailable:
                self._until = self._clock() + FRESH_S
            finally:
                self._lock.release()
        return self._serving.get((pool, model, version))

    def _remember(self, known: list[WorkerStatus]) -> None:
        found: dict[tuple[str, str, str], list[ModelStatus]] = {}
        for worker in known:
            for status in worker.models:
                found.setdefault((worker.pool, status.model, status.version), []).append(status)
        self._serving = {key: summary(statuses) for key, statuses in found.items()}
        self._until = self._clock() + FRESH_S


def summary(statuses: list[ModelStatus]) -> Serving:
    rows = sum(status.rows for status in statuses)
    return Serving(
        states=frozenset(status.state for status in statuses),
        executors=sum(status.executors for status in statuses),
        row_ms=sum(status.busy_ms for status in statuses) / rows if rows else None,
    )
