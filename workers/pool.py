"""All the models that one worker serves, its sign of life, and the order in which it stops."""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from errors import PenstockError, StoreUnavailable
from models.catalog import Entry
from storage.jobs import JobStore, wall_ms
from storage.workers import Workers, WorkerStatus
from workers.lane import Delivery
from workers.serving import Serving

log = logging.getLogger(__name__)

#: Between signs of life, seconds; well below their time to live.
BEAT_S = 5.0


def worker_name(pool: str) -> str:
    """Unique: two workers of one name would shut each other out of the broker."""
    return f"{pool}-{socket.gethostname()}-{os.getpid()}"


class Pool:
    """The servings of one worker. `on_ready` and `flush` are set by the step that owns the connection."""

    def __init__(
        self,
        *,
        pool: str,
        entries: Sequence[Entry],
        devices: Callable[[Entry], Sequence[str]],
        repository: Path,
        objects_url: str,
        jobs: JobStore,
        workers: Workers,
    ) -> None:
        self.name = worker_name(pool)
        self.on_ready: Callable[[Serving], None] = lambda serving: None
        self.flush: Callable[[], None] = lambda: None
        self._pool = pool
        self._workers = workers
        self._started_ms = wall_ms()
        self._stopping = threading.Event()
        self._beat_now = threading.Event()
        self._beats = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self.servings = [
            Serving(
                entry,
                pool=pool,
                devices=devices(entry),
                repository=repository,
                objects_url=objects_url,
                jobs=jobs,
                stopping=self._stopping,
                changed=self._on_change,
                flush=lambda: self.flush(),
            )
            for entry in entries
        ]

    def start(self) -> None:
        self._beats.start()
        for serving in self.servings:
            serving.start()

    def stop_taking(self) -> list[Delivery]:
        """Start no more batches; returns what waited, to be given back."""
        self._stopping.set()
        self._beat_now.set()
        return self._disclaimed([(serving, serving.stop_taking()) for serving in self.servings])

    def finish_batches(self, tick: Callable[[], None]) -> list[Delivery]:
        """Wait for the batches that run, calling `tick` now and then; returns those that got no outcome."""
        while not all(serving.finish(0.05) for serving in self.servings):
            tick()
        return self._disclaimed([(serving, serving.unfinished()) for serving in self.servings])

    def _disclaimed(self, left: list[tuple[Serving, list[Delivery]]]) -> list[Delivery]:
        for serving, deliveries in left:
            try:
                serving.disclaim(deliveries)
            except StoreUnavailable as error:
                log.info("given back without a word to the store", extra={"reason": error.detail})
        return [delivery for _, deliveries in left for delivery in deliveries]

    def close(self) -> None:
        self._beats.join()
        try:
            self._workers.leave(self.name)
        except StoreUnavailable as error:
            log.info("could not say goodbye", extra={"reason": error.detail})

    def status(self) -> WorkerStatus:
        return WorkerStatus(
            name=self.name,
            pool=self._pool,
            started_ms=self._started_ms,
            models=tuple(serving.status() for serving in self.servings),
        )

    def _on_change(self, serving: Serving) -> None:
        self._beat_now.set()
        if serving.ready:
            self.on_ready(serving)

    def _beat(self) -> None:
        while not self._stopping.is_set():
            try:
                self._workers.beat(self.status(), now_ms=wall_ms())
            except PenstockError as error:
                log.warning("no sign of life could be given", extra={"reason": error.detail})
                time.sleep(1)
            self._beat_now.wait(BEAT_S)
            self._beat_now.clear()
