"""What a farm does now, from two looks at counters that only grow."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from penstock.client import Penstock
from penstock.models import Model

LANES = ("high", "normal", "low")


@dataclass(frozen=True, slots=True)
class Figures:
    """One version of a model, its pools together."""

    model: str
    version: str
    lanes: Mapping[str, int]
    workers: int
    executors: int
    jobs_per_s: float | None
    drain_s: float | None
    #: Since the version was first served.
    rows: int = 0
    batches: int = 0
    #: Since the look before; None with the first.
    rows_per_s: float | None = None
    batches_per_s: float | None = None
    mean_batch: float | None = None

    @property
    def waiting(self) -> int:
        return sum(self.lanes.values())


@dataclass(frozen=True, slots=True)
class Load:
    """One look."""

    #: Seconds of a clock that only grows.
    at_s: float
    figures: Sequence[Figures]
    #: Names of the workers that live.
    workers: frozenset[str] = field(default_factory=frozenset)
    #: The caller's own jobs that are queued or running.
    in_flight: int = 0

    def json(self) -> dict[str, Any]:
        models = [{**asdict(one), "waiting": one.waiting} for one in self.figures]
        return {"workers": sorted(self.workers), "in_flight": self.in_flight, "models": models}


def look(client: Penstock, before: Load | None = None) -> Load:
    """The load now; with the look before it, what was done in between."""
    queues, models = client.queues(), {model.name: model for model in client.models.list()}
    at_s = time.monotonic()
    versions: dict[tuple[str, str], list[Any]] = {}
    for queue in queues.queues:
        versions.setdefault((queue.model, queue.version), []).append(queue)
    figures, workers = [], set()
    for (name, version), parts in versions.items():
        model = models.get(name)
        if model is None or model.version != version:
            model = client.models.get(name, version)
        workers |= {str(worker.get("name")) for worker in model.raw.get("workers", ())}
        drains = [part.drain_s for part in parts]
        rates = [part.jobs_per_s for part in parts if part.jobs_per_s is not None]
        figures.append(
            Figures(
                model=name,
                version=version,
                lanes={lane: sum(part.lanes.get(lane, 0) for part in parts) for lane in LANES},
                workers=sum(part.workers for part in parts),
                executors=sum(part.executors for part in parts),
                jobs_per_s=sum(rates) if rates else None,
                drain_s=None if None in drains else max(drains),
                **done(model, before, at_s),
            )
        )
    return Load(at_s, figures, frozenset(workers), queues.in_flight)


def done(model: Model, before: Load | None, at_s: float) -> dict[str, Any]:
    """What a version has run, and how much of it since the look before."""
    statistics = model.raw.get("statistics") or {}
    rows, batches = int(statistics.get("rows", 0)), int(statistics.get("batches", 0))
    found: dict[str, Any] = {"rows": rows, "batches": batches, "mean_batch": statistics.get("mean_batch")}
    then = next(
        (one for one in (before.figures if before else ()) if (one.model, one.version) == (model.name, model.version)),
        None,
    )
    if before is None or then is None:
        return found
    passed_s, more_rows, more_batches = at_s - before.at_s, max(0, rows - then.rows), max(0, batches - then.batches)
    found |= {"rows_per_s": round(more_rows / passed_s, 1), "batches_per_s": round(more_batches / passed_s, 1)}
    return found | ({"mean_batch": round(more_rows / more_batches, 1)} if more_batches else {})
