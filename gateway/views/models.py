"""The models: what their manifests say, and what the workers say of them."""

from typing import Any, Literal

import msgspec
from flask import Response

from errors import StoreUnavailable
from gateway.answers import answer
from gateway.choosing import Choice, VersionState
from gateway.parts import Parts
from gateway.routes import Answer, Route
from models.catalog import Entry
from models.manifest import Batching, Limits, Tensor, VersionPolicy
from storage.statistics import BOUNDS_MS, CAUSES, STAGES, Figures, Histogram, total
from storage.workers import ModelStatus, WorkerStatus


class ModelWorker(msgspec.Struct, frozen=True, kw_only=True):
    """One worker that serves, loads or failed to load the model."""

    name: str
    pool: str
    #: loading, ready or failed.
    state: str
    #: Why it failed.
    reason: str = ""
    device: str = ""
    executors: int = 0
    #: Executors that were replaced since the worker began: dead, hung, or above `limits.memory_mb`.
    restarts: int = 0
    #: Why the last one was.
    restart_reason: str = ""


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """How long one stage took. Quantiles are estimates from the buckets."""

    count: int = 0
    sum_ms: float = 0.0
    mean_ms: float | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None
    #: By the buckets of `bounds_ms`; one more beyond the last bound.
    counts: list[int] = []


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """What was run since the version was first served, workers that have ended included."""

    rows: int = 0
    batches: int = 0
    #: Rows in a batch, on average.
    mean_batch: float | None = None
    #: Milliseconds in the model: in all, and for a row.
    compute_ms: float = 0.0
    row_ms: float | None = None
    #: Executors that were replaced: died, hung or oversized.
    restarts: dict[str, int] = {}
    #: Upper bounds of the histograms' buckets.
    bounds_ms: tuple[float, ...] = BOUNDS_MS
    #: queue (for each job), decode, compute, encode and commit (for each batch).
    stages: dict[str, Stage] = {}


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model, in the version that most jobs get which ask for none, or in the one asked for."""

    name: str
    object: str = "model"
    version: str
    #: Every version, oldest first.
    versions: tuple[str, ...]
    #: ready, loading, failed (no worker could load it), draining, no_worker or not_loaded.
    state: str
    #: Why it failed, or why another version that should be served is not.
    reason: str | None = None
    #: Each version: how far it is, its labels, and its share of the jobs that ask for none.
    version_states: list[VersionState]
    #: Which versions the manifest asks for.
    version_policy: Literal["all"] | VersionPolicy
    #: Label to version.
    labels: dict[str, str]
    #: Version to weight, where an operator splits the jobs that ask for no version.
    traffic: dict[str, float]
    #: Where a rollback would lead.
    previous: str | None = None
    description: str
    runtime: str
    pools: tuple[str, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    batching: Batching
    limits: Limits
    #: Inputs that satisfy the signature.
    example: dict[str, Any] | None = None
    license: str
    source: str
    workers: list[ModelWorker]
    statistics: Statistics


class BrokenModel(msgspec.Struct, frozen=True, kw_only=True):
    """A folder of the repository that cannot be served; nothing waits for it."""

    name: str
    object: str = "model"
    state: str = "broken"
    reason: str


class ModelList(msgspec.Struct, frozen=True, kw_only=True):
    """Every model of the repository; those whose manifest is broken come last."""

    object: str = "list"
    data: list[Any]


class ModelViews:
    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    def all(self) -> Response:
        workers = self.workers()
        catalog = self.parts.catalog
        models: list[Any] = [self.show(name, None, workers) for name in catalog.models]
        broken = [
            BrokenModel(name=one.name, reason=one.reason) for one in catalog.broken if one.name not in catalog.models
        ]
        return answer(ModelList(data=models + broken))

    def get(self, name: str, version: str | None = None) -> Response:
        return answer(self.show(name, version, self.workers()))

    def show(self, name: str, version: str | None, workers: list[WorkerStatus]) -> Model:
        """One version, or where `version` is None the one that most jobs get; raises UnknownModel."""
        choice = self.parts.resolver.choice(name)
        entry = choice.main if version is None else choice.entries.get(version)
        return self.describe(entry or self.parts.catalog.get(name, version), choice, workers)

    def workers(self) -> list[WorkerStatus]:
        try:
            return self.parts.resolver.look()
        except StoreUnavailable:
            # The manifests can be shown without it.
            return []

    def states(self, name: str, choice: Choice) -> list[VersionState]:
        """Every version, oldest first, and then what of the model's folder is broken."""
        broken = [
            VersionState(version=one.version, state="broken", reason=one.reason)
            for one in self.parts.catalog.broken
            if one.name == name
        ]
        return choice.states() + broken

    def figures(self, entry: Entry) -> Figures:
        """What the version's executors did, in all its pools together."""
        manifest = entry.manifest
        try:
            return total(self.parts.register.figures([(pool, manifest.name, entry.version) for pool in manifest.pools]))
        except StoreUnavailable:
            return {}

    def describe(self, entry: Entry, choice: Choice, workers: list[WorkerStatus]) -> Model:
        manifest = entry.manifest
        found = [
            (worker, status)
            for worker in workers
            for status in worker.models
            if (status.model, status.version) == (manifest.name, entry.version)
        ]
        states = self.states(manifest.name, choice)
        own = next(one for one in states if one.version == entry.version)
        return Model(
            name=manifest.name,
            version=entry.version,
            versions=tuple(choice.entries),
            state=own.state,
            reason=own.reason or trouble(states, choice),
            version_states=states,
            version_policy=manifest.version_policy,
            labels=choice.deployment.labels,
            traffic=choice.deployment.traffic,
            previous=choice.deployment.previous or None,
            description=manifest.description,
            runtime=manifest.runtime,
            pools=manifest.pools,
            inputs=manifest.inputs,
            outputs=manifest.outputs,
            batching=manifest.batching,
            limits=manifest.limits,
            example=manifest.example,
            license=manifest.license,
            source=manifest.source,
            workers=[shown(worker, status) for worker, status in found],
            statistics=statistics(self.figures(entry)),
        )


def trouble(states: list[VersionState], choice: Choice) -> str | None:
    """Why a version is not served that should be."""
    for one in reversed(states):
        if one.state == "broken" or (one.state == "failed" and one.version in choice.open):
            return f"version {one.version}: {one.reason}"
    return None


def shown(worker: WorkerStatus, status: ModelStatus) -> ModelWorker:
    return ModelWorker(
        name=worker.name,
        pool=worker.pool,
        state=status.state,
        reason=status.reason,
        device=status.device,
        executors=status.executors,
        restarts=status.restarts,
        restart_reason=status.restart_reason,
    )


def statistics(figures: Figures) -> Statistics:
    rows, batches = int(figures.get("rows", 0)), int(figures.get("batches", 0))
    stages = {stage: Histogram(figures, stage) for stage in STAGES}
    compute_ms = stages["compute"].sum_ms
    return Statistics(
        rows=rows,
        batches=batches,
        mean_batch=round(rows / batches, 3) if batches else None,
        compute_ms=round(compute_ms, 3),
        row_ms=round(compute_ms / rows, 3) if rows else None,
        restarts={cause: int(figures.get("restarts:" + cause, 0)) for cause in CAUSES},
        stages={name: shown_stage(histogram) for name, histogram in stages.items()},
    )


def shown_stage(histogram: Histogram) -> Stage:
    count = histogram.count
    return Stage(
        count=count,
        sum_ms=round(histogram.sum_ms, 3),
        mean_ms=round(histogram.sum_ms / count, 3) if count else None,
        p50_ms=rounded(histogram.quantile_ms(0.5)),
        p95_ms=rounded(histogram.quantile_ms(0.95)),
        counts=histogram.counts,
    )


def rounded(ms: float | None) -> float | None:
    return None if ms is None else round(ms, 3)


def routes(parts: Parts) -> list[Route]:
    views = ModelViews(parts)
    one = {200: Answer(description="The model", content={"application/json": Model})}
    listed = {
        "type": "object",
        "properties": {
            "object": {"const": "list"},
            "data": {"type": "array", "items": {"anyOf": [Model, BrokenModel]}},
        },
    }
    return [
        Route(
            method="GET", path="/v1/models", view=views.all, name="listModels", tag="models",
            scope="read",
            summary="What the farm can run",
            answers={200: Answer(description="Every model", content={"application/json": listed})},
        ),
        Route(
            method="GET", path="/v1/models/<name>", view=views.get, name="getModel", tag="models",
            scope="read",
            summary="A model, with its versions, labels and traffic", answers=one, errors=("unknown_model",),
        ),
        Route(
            method="GET", path="/v1/models/<name>/versions/<version>", view=views.get, name="getModelVersion",
            scope="read",
            tag="models", summary="A model in one version", answers=one, errors=("unknown_model",),
        ),
    ]  # fmt: skip
