"""`/metrics` in Prometheus' text format: the farm as the store knows it, and this process's requests."""

from collections.abc import Iterator
from itertools import accumulate

from flask import Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from errors import StoreUnavailable
from gateway.parts import Parts
from gateway.routes import Answer, Route
from gateway.tally import BOUNDS, Line
from storage.workers import WorkerStatus
from tasks.message import LANES, queue_name

TERMINAL = ("succeeded", "failed", "canceled", "expired")


class FarmCollector(Collector):
    """Reads the store anew at each scrape."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    def collect(self) -> Iterator[Metric]:
        try:
            farm = [*self.jobs(), self.lanes(), *workers(self.parts.register.all())]
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
        return [ended, stale]

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


def workers(living: list[WorkerStatus]) -> list[Metric]:
    pools: dict[tuple[str, ...], int] = {}
    executors: dict[tuple[str, ...], int] = {}
    rows: dict[tuple[str, ...], int] = {}
    compute: dict[tuple[str, ...], float] = {}
    for worker in living:
        pools[worker.pool,] = pools.get((worker.pool,), 0) + 1
        for status in worker.models:
            key = (worker.pool, status.model, status.version)
            executors[key] = executors.get(key, 0) + status.executors
            rows[key] = rows.get(key, 0) + status.rows
            compute[key] = compute.get(key, 0) + status.compute_ms / 1000
    model = ["pool", "model", "version"]
    return [
        gauge("penstock_workers", "Living workers.", ["pool"], list(pools.items())),
        gauge("penstock_executors", "Executors that are ready.", model, list(executors.items())),
        # Gauges, since they fall when a worker ends.
        gauge("penstock_worker_rows", "Rows run since the living workers began.", model, list(rows.items())),
        gauge("penstock_worker_compute_seconds", "Seconds in the model likewise.", model, list(compute.items())),
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
