"""From the model and version that a client names to a concrete version, without asking anybody.

What is known of repository, workers and operators' wishes is one snapshot, replaced once a second by a thread of its
own and never changed: a request looks things up in it, which takes microseconds.
"""

import logging
import random
import threading
from collections.abc import Callable, Mapping, Sequence

from errors import NotLoaded, StoreUnavailable, UnknownModel
from gateway.choosing import Choice
from gateway.register import Register
from models.catalog import Catalog, Entry
from models.repository import Repository
from storage.deployments import Deployment, Deployments
from storage.workers import ModelStatus, WorkerStatus

log = logging.getLogger(__name__)

#: Between two looks, seconds.
LOOK_S = 1.0


class Resolver:
    """Thread-safe; `start` keeps it up to date."""

    def __init__(
        self,
        repository: Repository,
        *,
        register: Register,
        deployments: Deployments,
        roll: Callable[[], float] = random.random,
    ) -> None:
        self._repository = repository
        self._register = register
        self._deployments = deployments
        self._roll = roll
        self._workers: Sequence[WorkerStatus] = ()
        self._wishes: Mapping[str, Deployment] = {}
        self._looking = threading.Lock()
        self._closed = threading.Event()
        self._now = self._snapshot(repository.catalog)

    @property
    def catalog(self) -> Catalog:
        """The models as they are now."""
        return self._now[0]

    def get(self, model: str, version: str | None = None) -> Entry:
        """The version that a job gets; `version` may be a label. Raises UnknownModel or NotLoaded."""
        catalog, known = self._now
        choice = known.get(model)
        if choice is None:
            raise unknown(catalog, model)
        if version is None:
            return choice.default(self._roll())
        found = choice.find(version)
        if found is None:
            raise refusal(catalog, choice, model, version)
        return found

    def choice(self, model: str) -> Choice:
        """All that is known of a model's versions; raises UnknownModel."""
        catalog, known = self._now
        if model not in known:
            raise unknown(catalog, model)
        return known[model]

    def look(self) -> list[WorkerStatus]:
        """Make the snapshot anew; the living workers. Raises StoreUnavailable, and keeps what it knew then."""
        with self._looking:
            catalog = self._repository.refresh()
            try:
                workers = self._register.all()
                self._workers, self._wishes = workers, self._deployments.all()
            finally:
                self._now = self._snapshot(catalog)
        return workers

    def _snapshot(self, catalog: Catalog) -> tuple[Catalog, dict[str, Choice]]:
        return catalog, choices(catalog, self._workers, self._wishes)

    def start(self) -> None:
        threading.Thread(target=self._run, name="resolver", daemon=True).start()

    def close(self) -> None:
        self._closed.set()

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                self.look()
            except StoreUnavailable as error:
                log.warning("versions cannot be looked at", extra={"reason": error.detail})
            # Whatever stopped this look, the snapshot serves on and the next look finds the same.
            except Exception:
                log.exception("versions could not be looked at")
            self._closed.wait(LOOK_S)


def choices(catalog: Catalog, workers: Sequence[WorkerStatus], wishes: Mapping[str, Deployment]) -> dict[str, Choice]:
    said: dict[tuple[str, str, str], list[ModelStatus]] = {}
    for worker in workers:
        for status in worker.models:
            said.setdefault((worker.pool, status.model, status.version), []).append(status)
    return {
        name: Choice(
            entries,
            wishes.get(name, Deployment()),
            {one.version: said.get((one.manifest.pools[0], name, one.version), ()) for one in entries},
        )
        for name, entries in catalog.models.items()
    }


def unknown(catalog: Catalog, model: str) -> UnknownModel:
    return UnknownModel(f"no model {model[:80]!r}{catalog.suggestion(model)}")


def refusal(catalog: Catalog, choice: Choice, model: str, version: str) -> UnknownModel | NotLoaded:
    """Why no job is accepted for that version or label."""
    target = choice.deployment.labels.get(version, version)
    try:
        catalog.get(model, target)
    except UnknownModel as error:
        return error
    loaded = ", ".join(choice.open) or "none"
    return NotLoaded(
        f"version {target} of model {model!r} is not loaded, and is not to be; loaded: {loaded}; "
        f"an operator can load it: penstock models load {model} {target}"
    )
