"""`/metrics` in Prometheus' text format: the farm as the store knows it, and this process's requests."""

from collections.abc import Iterator
from itertools import accumulate

from flask import Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from errors import StoreUnavailable
from gateway.hook_metrics import hooks
from gateway.parts import Parts
from gateway.routes import Answer, Route
from gateway.tally import BOUNDS, Line
from storage.statistics import BOUNDS_MS, CAUSES, STAGES, Figures, Histogram
from storage.workers import WorkerStatus
from tasks.message import LANES, queue_name

#: Why attempts end without an outcome, and the store's counter of each.
ATTEMPTS = {"model_error": "failures", "worker_loss": "worker_losses", "interruption": "interruptions"}
TERMINAL = ("succeeded", "failed", "canceled", "expired")


class FarmCollector(Collector):
    """Reads the store anew at each scrape."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    def collect(self) -> Iterator[Metric]:
        try:
            farm = [*self.jobs(), self.lanes(), self.scorings(), *workers(self.parts.register.all()), *self.models()]
            farm += hooks(self.parts.deliveries)
        except StoreUnavailable:
            farm = []
        yield gauge("penstock_store_up", "Whether the job store answers.", [], [((), bool(farm))])
        yield from farm
        yield requests(list(self.parts.tally.lines()))

    def jobs(self) -> list[Metric]:
        counters = self.parts.jobs.counters()
        ended = CounterMetricFamily("penstock_jobs", "Jobs that ended, by state.", labels=["state"])
        for state in TERMINAL:
            ended.add_metric([state], counters.get(state, 0))
        stale = CounterMetricFamily(
            "penstock_stale_commits", "Outcomes refused since another attempt held the job.",
            value=counters.get("stale_commits", 0),
        )  # fmt: skip
        lost = CounterMetricFamily("penstock_attempts_lost", "Attempts without an outcome, by cause.", labels=["cause"])
        for cause, field in ATTEMPTS.items():
            lost.add_metric([cause], counters.get(field, 0))
        refused = CounterMetricFamily(
            "penstock_refused_messages", "Messages that were no job.", value=counters.get("refused_messages", 0)
        )
        return [ended, stale, lost, refused]

    def lanes(self) -> Metric:
        labels = [
            (pool, name, entry.version, lane)
            for name, entries in self.parts.catalog.models.items()
            for entry in entries
            for pool in entry.manifest.pools
            for lane in LANES
        ]
        depths = self.parts.jobs.depths([queue_name(*one) for one in labels])
        return gauge(
            "penstock_waiting_jobs", "Jobs that wait.", ["pool", "model", "version", "lane"],
            list(zip(labels, depths, strict=True)),
        )  # fmt: skip

    def scorings(self) -> Metric:
        waiting, driven = self.parts.scorings.unfinished()
        return gauge(
            "penstock_scorings_unfinished", "Scorings that have not ended.", ["state"],
            [(("queued",), waiting), (("driven",), driven)],
        )  # fmt: skip

    def models(self) -> list[Metric]:
        versions = [
            (pool, name, entry.version)
            for name, entries in self.parts.catalog.models.items()
            for entry in entries
            for pool in entry.manifest.pools
        ]
        found = list(zip(versions, self.parts.register.figures(versions), strict=True))
        return [
            counted("penstock_model_rows", "Rows run.", found, "rows"),
            counted("penstock_model_batches", "Batches run.", found, "batches"),
            restarts(found),
            *(stage(name, found) for name in STAGES),
        ]


MODEL = ["pool", "model", "version"]
#: What each version's executors did, by the labels above.
Found = list[tuple[tuple[str, str, str], Figures]]
#: The unit that each stage is measured for, and what it is.
STAGE_TEXTS = {
    "queue": ("job", "From a job's submission to its batch."),
    "decode": ("batch", "Reading and preparing a batch's inputs."),
    "compute": ("batch", "A batch in the model."),
    "encode": ("batch", "Making and writing a batch's outputs."),
    "commit": ("batch", "Storing a batch's outcomes."),
}


def counted(name: str, text: str, found: Found, field: str) -> Metric:
    family = CounterMetricFamily(name, text, labels=MODEL)
    for key, figures in found:
        family.add_metric(key, figures.get(field, 0))
    return family


def restarts(found: Found) -> Metric:
    family = CounterMetricFamily("penstock_executor_restarts", "Executors replaced.", labels=[*MODEL, "cause"])
    for key, figures in found:
        for cause in CAUSES:
            family.add_metric([*key, cause], figures.get("restarts:" + cause, 0))
    return family


def stage(name: str, found: Found) -> Metric:
    unit, text = STAGE_TEXTS[name]
    family = HistogramMetricFamily(f"penstock_{unit}_{name}_seconds", text, labels=MODEL)
    bounds = [*(f"{ms / 1000:g}" for ms in BOUNDS_MS), "+Inf"]
    for key, figures in found:
        histogram = Histogram(figures, name)
        buckets = list(zip(bounds, map(float, accumulate(histogram.counts)), strict=True))
        family.add_metric(key, buckets, histogram.sum_ms / 1000)
    return family


def workers(living: list[WorkerStatus]) -> list[Metric]:
    pools: dict[tuple[str, ...], int] = {}
    executors: dict[tuple[str, ...], int] = {}
    for worker in living:
        pools[worker.pool,] = pools.get((worker.pool,), 0) + 1
        for status in worker.models:
            key = (worker.pool, status.model, status.version)
            executors[key] = executors.get(key, 0) + status.executors
    return [
        gauge("penstock_workers", "Living workers.", ["pool"], list(pools.items())),
        gauge("penstock_executors", "Executors that are ready.", MODEL, list(executors.items())),
    ]


def gauge(name: str, text: str, labels: list[str], values: list[tuple[tuple[str, ...], float]]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in values:
        family.add_metric(list(key), value)
    return family


def requests(lines: list[Line]) -> Metric:
    family = HistogramMetricFamily(
        "penstock_http_request_seconds",
        "Requests to this gateway process, long polls included.",
        labels=["method", "route", "status"],
    )
    for line in lines:
        bounds = [*map(str, BOUNDS), "+Inf"]
        buckets = list(zip(bounds, map(float, accumulate(line.counts)), strict=True))
        family.add_metric([line.method, line.route, str(line.status)], buckets, line.seconds)
    return family


class MetricsView:
    def __init__(self, parts: Parts) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(FarmCollector(parts))

    def show(self) -> Response:
        return Response(generate_latest(self._registry), 200, content_type=CONTENT_TYPE_LATEST)


def routes(parts: Parts) -> list[Route]:
    return [
        Route(
            method="GET", path="/metrics", view=MetricsView(parts).show, name="metrics", tag="operations", public=True,
            summary="Figures for Prometheus",
            answers={200: Answer(description="Text format", content={"text/plain": {"type": "string"}})},
        )
    ]  # fmt: skip
