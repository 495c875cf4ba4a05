"""Keeps a worker's servings as repository and operator want them: looks once a second, begins and ends versions."""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from errors import StoreUnavailable
from models import pipelines
from models.catalog import Entry
from models.policy import by_policy
from models.repository import Repository
from storage.deployments import Deployment, Deployments
from storage.jobs import JobStore
from storage.workers import Workers
from tasks.message import LANES, queue_name
from workers.plan import plan
from workers.pool import Pool
from workers.serving import Serving

log = logging.getLogger(__name__)

#: Between two looks, seconds.
LOOK_S = 1.0
#: A version that is to end must have had nothing to do for so long, seconds: gateways know a second later than
#: workers that it is no longer to be asked for. A job that comes later still has its version begun again.
LINGER_S = 3.0

Version = tuple[str, str]


class Deployer:
    """One thread; `look` is what it does each time."""

    def __init__(
        self,
        pool: Pool,
        repository: Repository,
        *,
        models: Sequence[str] = (),
        deployments: Deployments,
        jobs: JobStore,
        workers: Workers,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`models`: only these; none named: all."""
        self._pool = pool
        self._repository = repository
        self._models = models
        self._deployments = deployments
        self._jobs = jobs
        self._workers = workers
        self._clock_s = clock_s
        self._known: dict[str, Deployment] = {}
        #: The models to serve, with those of their steps; and the versions that steps name, by model.
        self._chosen: Collection[str] = models
        self._pinned: Mapping[str, frozenset[str]] = {}
        #: Servings that are to end, by when they were last seen at work.
        self._busy_s: dict[Serving, float] = {}

    def start(self) -> None:
        """Look once, then again and again on a thread of its own."""
        self._try()
        threading.Thread(target=self._run, name="deployer", daemon=True).start()

    def _run(self) -> None:
        while not self._pool.stopping.wait(LOOK_S):
            self._try()

    def _try(self) -> None:
        try:
            self.look()
        # Whatever stopped this look, the next one finds the same to do.
        except Exception:
            log.exception("models could not be looked at")

    def look(self) -> None:
        """Begin what is wanted and not there; drain, and in the end retire, what is there and not wanted."""
        catalog = self._repository.refresh()
        manifests = {name: [entry.manifest for entry in entries] for name, entries in catalog.models.items()}
        self._chosen = pipelines.with_steps(self._models, manifests)
        mine = {name: self._mine(name, entries) for name, entries in catalog.models.items()}
        self._pinned = pipelines.pinned(entry.manifest for entries in mine.values() for entry in entries)
        held = self._held()
        try:
            self._known = self._deployments.all()
            waiting = self._waiting(mine, held)
        except StoreUnavailable as error:
            # What is known stands: policies alone when the worker has just begun.
            log.warning("what operators ask for cannot be read", extra={"reason": error.detail})
            waiting = {}
        for name in {*mine, *held}:
            self._apply(name, mine.get(name, []), held.get(name, []), waiting)

    def _mine(self, name: str, entries: Sequence[Entry]) -> list[Entry]:
        """Those of a model's versions that this worker may serve."""
        chosen = not self._models or name in self._chosen
        return [entry for entry in entries if chosen and self._pool.pool in entry.manifest.pools]

    def _held(self) -> dict[str, list[Serving]]:
        held: dict[str, list[Serving]] = {}
        for serving in self._pool.servings:
            if serving.stopped:
                self._pool.retire(serving)
            else:
                held.setdefault(serving.entry.manifest.name, []).append(serving)
        return held

    def _apply(self, name: str, entries: list[Entry], held: list[Serving], waiting: Mapping[Version, int]) -> None:
        deployment = self._known.get(name, Deployment())
        found = plan(
            entries,
            held,
            pinned=deployment.pinned | self._pinned.get(name, frozenset()),
            unloaded=deployment.unloaded,
            waiting=[version for model, version in waiting if model == name],
        )
        for entry in found.start:
            log.info("version begins", extra={"model": name, "version": entry.version})
            self._pool.add(entry)
        for serving in held:
            if serving in found.replaced:
                self._pool.retire(serving)
            elif serving not in found.drain:
                self._busy_s.pop(serving, None)
                self._pool.drain(serving, wanted=True)
            elif not serving.ready:
                self._pool.retire(serving)
            else:
                self._end_when_idle(serving, waiting.get((name, serving.entry.version), 0))

    def _end_when_idle(self, serving: Serving, waiting: int) -> None:
        self._pool.drain(serving)
        now = self._clock_s()
        if waiting or not serving.idle:
            self._busy_s[serving] = now
        elif now - self._busy_s.setdefault(serving, now) >= LINGER_S:
            del self._busy_s[serving]
            self._pool.retire(serving)

    def _waiting(self, mine: Mapping[str, list[Entry]], held: Mapping[str, list[Serving]]) -> dict[Version, int]:
        """Versions that no policy names and that have jobs waiting, with their number; none that another serves."""
        asked = list(self._unnamed(mine, held))
        queues = [queue_name(self._pool.pool, *one, lane) for one in asked for lane in LANES]
        depths = self._jobs.depths(queues) if queues else []
        size = len(LANES)
        found = {one: sum(depths[i * size : (i + 1) * size]) for i, one in enumerate(asked)}
        ours = {(name, serving.entry.version) for name, servings in held.items() for serving in servings}
        found = {one: count for one, count in found.items() if count}
        if found.keys() - ours:
            elsewhere = self._elsewhere()
            found = {one: count for one, count in found.items() if one in ours or one not in elsewhere}
        return found

    def _unnamed(self, mine: Mapping[str, list[Entry]], held: Mapping[str, list[Serving]]) -> Iterator[Version]:
        """Versions that are there, or held, and not named by their model's policy."""
        for name in {*mine, *held}:
            entries = mine.get(name, [])
            versions = [entry.version for entry in entries]
            named = set(by_policy(versions, entries[-1].manifest.version_policy)) if entries else set()
            named |= self._pinned.get(name, frozenset())
            if deployment := self._known.get(name):
                named = (named | deployment.pinned).difference(deployment.unloaded)
            for version in {*versions, *(serving.entry.version for serving in held.get(name, ()))} - named:
                yield name, version

    def _elsewhere(self) -> set[Version]:
        return {
            (status.model, status.version)
            for worker in self._workers.all()
            if worker.pool == self._pool.pool and worker.name != self._pool.name
            for status in worker.models
            if status.state != "failed"
        }
