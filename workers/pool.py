"""All the models that one worker serves, its sign of life, and the order in which it stops."""

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from errors import PenstockError, StoreUnavailable
from models.catalog import Entry, age
from storage.clock import wall_ms
from storage.jobs import JobStore
from storage.statistics import Recorder
from storage.workers import Workers, WorkerStatus
from workers import neighbours
from workers.expiring import Expiry
from workers.lane import Delivery
from workers.pipelining import PipelineServing
from workers.replying import Replies
from workers.serving import Serving

log = logging.getLogger(__name__)

#: Between signs of life, seconds; well below their time to live.
BEAT_S = 5.0
#: How long a worker that stops waits for the broker to take the last answers, seconds.
REPLIES_S = 5.0


def worker_name(pool: str) -> str:
    """Unique for ever: two workers of one name would shut each other out of the broker, and one that takes the jobs of
    a dead one over must not be taken for it (in a container that starts again host and number are the same).
    """
    return f"{pool}-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


class Pool:
    """The servings of one worker. `on_…` and `flush` are set by the step that owns the connection.

    `servings` is replaced, never changed: other threads go through the one that they took.
    """

    def __init__(
        self,
        *,
        pool: str,
        devices: Callable[[Entry], Sequence[str]],
        repository: Path,
        objects_url: str,
        cache: str = "",
        jobs: JobStore,
        workers: Workers,
        replies: Replies | None = None,
    ) -> None:
        self.name = worker_name(pool)
        self.on_added: Callable[[Serving], None] = lambda serving: None
        self.on_ready: Callable[[Serving], None] = lambda serving: None
        self.on_failed: Callable[[Serving], None] = lambda serving: None
        self.on_retire: Callable[[Serving], None] = lambda serving: None
        self.flush: Callable[[], None] = lambda: None
        self.pool = pool
        self._devices = devices
        self._repository = repository
        self._objects_url = objects_url
        self._cache = cache
        self._jobs = jobs
        self._workers = workers
        self._replies = replies
        if replies is not None:
            replies.flush = lambda: self.flush()
        self._started_ms = wall_ms()
        self._process = neighbours.here()
        self.stopping = threading.Event()
        self._beat_now = threading.Event()
        self._beats = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._guard = threading.Lock()
        self._started = False
        self.servings: tuple[Serving, ...] = ()
        #: By model and version; they outlive a serving, whose last figures are still to be reported.
        self._recorders: dict[tuple[str, str], Recorder] = {}
        self._expiry = Expiry(
            lambda: [(one.batcher, one.hands) for one in self.servings], jobs, flush=lambda: self.flush()
        )

    def start(self) -> None:
        with self._guard:
            self._started = True
            for serving in self.servings:
                serving.start()
        self._beats.start()
        self._expiry.start()

    def add(self, entry: Entry) -> None:
        """Serve one version more: it loads beside the others."""
        kind = Serving if entry.manifest.kind == "model" else partial(PipelineServing, find=self.find)
        serving = kind(
            entry,
            pool=self.pool,
            devices=self._devices(entry),
            repository=self._repository,
            objects_url=self._objects_url,
            cache=self._cache,
            jobs=self._jobs,
            stopping=threading.Event(),
            changed=self._on_change,
            flush=lambda: self.flush(),
            recorder=self._recorders.setdefault((entry.manifest.name, entry.version), Recorder()),
            replies=self._replies,
        )
        with self._guard:
            if self.stopping.is_set():
                return
            self.servings = (*self.servings, serving)
            if self._started:
                serving.start()
        self.on_added(serving)
        self._beat_now.set()

    def find(self, model: str, version: str) -> Serving | None:
        """The serving of a model in one version, or (empty) in the newest that can be asked."""
        found = [
            one for one in self.servings if one.entry.manifest.name == model and version in ("", one.entry.version)
        ]
        return max(found, key=lambda one: (one.ready, not one.draining, age(one.entry.version)), default=None)

    def drain(self, serving: Serving, *, wanted: bool = False) -> None:
        """Say that a version is no longer to be asked for, or is again; it goes on as before."""
        if serving.draining == wanted:
            serving.draining = not wanted
            self._beat_now.set()

    def retire(self, serving: Serving) -> None:
        """End a serving; asked again until it is gone, as the event loop may have forgotten it."""
        self.on_retire(serving)

    def remove(self, serving: Serving) -> None:
        """Its executors have ended."""
        with self._guard:
            self.servings = tuple(one for one in self.servings if one is not serving)
        self._beat_now.set()
        entry = serving.entry
        log.info("version ended", extra={"model": entry.manifest.name, "version": entry.version})

    def stop_taking(self) -> list[Delivery]:
        """Start no more batches; returns what waited, to be given back."""
        with self._guard:
            self.stopping.set()
        self._beat_now.set()
        # Pipelines first: the steps that their models give up are not to be run elsewhere.
        ordered = sorted(self.servings, key=lambda serving: serving.entry.manifest.kind == "model")
        return self.disclaimed([(serving, serving.stop_taking()) for serving in ordered])

    def finish_batches(self, tick: Callable[[], None]) -> list[Delivery]:
        """Wait for the batches that run, calling `tick` now and then; returns those that got no outcome."""
        while not all(serving.finish(0.05) for serving in self.servings):
            tick()
        self._finish_replies(tick)
        return self.disclaimed([(serving, serving.unfinished()) for serving in self.servings])

    def _finish_replies(self, tick: Callable[[], None]) -> None:
        """Give the broker a moment to take the answers to what has ended; the rest is told by the next worker."""
        if self._replies is None:
            return
        until_s = time.monotonic() + REPLIES_S
        while not self._replies.idle and time.monotonic() < until_s:
            time.sleep(0.01)
            tick()
        self._replies.close()

    def disclaimed(self, left: Sequence[tuple[Serving, list[Delivery]]]) -> list[Delivery]:
        """Deliveries without an outcome, after the store was told that these attempts are none."""
        for serving, deliveries in left:
            try:
                serving.disclaim(deliveries)
            except StoreUnavailable as error:
                log.info("given back without a word to the store", extra={"reason": error.detail})
        return [delivery for _, deliveries in left for delivery in deliveries]

    def close(self) -> None:
        self._expiry.stop()
        self._beats.join()
        try:
            self._report()
            self._workers.leave(self.name)
        except StoreUnavailable as error:
            log.info("could not say goodbye", extra={"reason": error.detail})

    def status(self) -> WorkerStatus:
        return WorkerStatus(
            name=self.name,
            pool=self.pool,
            started_ms=self._started_ms,
            models=tuple(serving.status() for serving in self.servings),
            process=self._process,
        )

    def _on_change(self, serving: Serving) -> None:
        self._beat_now.set()
        if serving.ready:
            self.on_ready(serving)
        elif serving.failed:
            self.on_failed(serving)

    def _beat(self) -> None:
        while not self.stopping.is_set():
            try:
                self._report()
                for name in neighbours.bury(self._workers, self.name):
                    log.warning("another worker of this host has died", extra={"worker": name})
            except PenstockError as error:
                log.warning("no sign of life could be given", extra={"reason": error.detail})
                time.sleep(1)
            self._beat_now.wait(BEAT_S)
            self._beat_now.clear()

    def _report(self) -> None:
        """Say what is served, and what was done since the last time; raises StoreUnavailable."""
        taken = {version: figures for version, one in self._recorders.copy().items() if (figures := one.take())}
        try:
            self._workers.beat(self.status(), now_ms=wall_ms(), figures=taken)
        except StoreUnavailable:
            for version, figures in taken.items():
                self._recorders[version].put_back(figures)
            raise
