"""What waits, model by model, who works on it, and how long that will take."""

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec
from flask import Response, g

from gateway.answers import answer
from gateway.parts import Parts
from gateway.routes import Answer, Route
from storage.statistics import Histogram
from storage.workers import ModelStatus
from tasks.message import LANES, queue_name

#: Looks at the counters that a rate is taken from: how old the oldest may be, and how far apart they are, seconds.
WINDOW_S, APART_S = 60.0, 1.0

#: Pool, model and version.
Version = tuple[str, str, str]


class QueueObject(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a model in one pool. Jobs of all tenants count."""

    model: str
    version: str
    pool: str
    #: Jobs that wait.
    waiting: int
    lanes: dict[str, int]
    #: Living workers that serve it, and their executors that are ready.
    workers: int
    executors: int
    #: Jobs begun a second, over the last minute at most; null until this has been asked for twice.
    jobs_per_s: float | None
    #: Seconds until what waits now is begun, at that rate or, without one, by what a row has cost so far.
    drain_s: float | None


class InFlight(msgspec.Struct, frozen=True, kw_only=True):
    """The caller's own."""

    jobs: int
    #: null: none.
    limit: int | None


class QueueList(msgspec.Struct, frozen=True, kw_only=True):
    object: str = "list"
    data: list[QueueObject]
    in_flight: InFlight


class Look(NamedTuple):
    at_s: float
    #: Jobs begun so far.
    begun: Mapping[Version, int]


class Rates:
    """Jobs begun a second, from two looks at counters that only grow."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looks: deque[Look] = deque()

    def note(self, begun: Mapping[Version, int]) -> dict[Version, float]:
        """Take a look; the rates since the oldest that still counts."""
        now = self._clock()
        while self._looks and now - self._looks[0].at_s > WINDOW_S:
            self._looks.popleft()
        oldest = next(iter(tuple(self._looks)), None)
        if not self._looks or now - self._looks[-1].at_s >= APART_S:
            self._looks.append(Look(now, begun))
        if oldest is None or now - oldest.at_s < APART_S:
            return {}
        return {
            key: max(0, count - oldest.begun[key]) / (now - oldest.at_s)
            for key, count in begun.items()
            if key in oldest.begun
        }


class QueueViews:
    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.rates = Rates()

    def page(self) -> Response:
        versions = [
            (pool, name, entry.version)
            for name, entries in self.parts.catalog.models.items()
            for entry in entries
            for pool in entry.manifest.pools
        ]
        serving: dict[Version, list[ModelStatus]] = {}
        for worker in self.parts.register.all():
            for status in worker.models:
                serving.setdefault((worker.pool, status.model, status.version), []).append(status)
        depths = iter(self.parts.jobs.depths([queue_name(*version, lane) for version in versions for lane in LANES]))
        figures = self.parts.register.figures(versions)
        begun = {key: Histogram(found, "queue").count for key, found in zip(versions, figures, strict=True)}
        rates = self.rates.note(begun)
        data = [
            queue(key, {lane: next(depths) for lane in LANES}, serving.get(key, []), rates.get(key)) for key in versions
        ]
        quota = self.parts.toll.of(g.tenant)
        own = InFlight(jobs=self.parts.jobs.in_flight(g.tenant), limit=quota.max_in_flight or None)
        return answer(QueueList(data=data, in_flight=own))


def queue(key: Version, lanes: dict[str, int], serving: list[ModelStatus], rate: float | None) -> QueueObject:
    waiting = sum(lanes.values())
    executors = sum(status.executors for status in serving)
    return QueueObject(
        pool=key[0],
        model=key[1],
        version=key[2],
        waiting=waiting,
        lanes=lanes,
        workers=len(serving),
        executors=executors,
        jobs_per_s=None if rate is None else round(rate, 3),
        drain_s=drain_s(waiting, serving, executors, rate),
    )


def drain_s(waiting: int, serving: list[ModelStatus], executors: int, rate: float | None) -> float | None:
    """Seconds until what waits is begun; None where nobody can tell."""
    if not waiting:
        return 0.0
    if rate:
        return round(waiting / rate, 3)
    rows = sum(status.rows for status in serving)
    if not rows or not executors:
        return None
    return round(waiting * sum(status.busy_ms for status in serving) / rows / executors / 1000, 3)


def routes(parts: Parts) -> list[Route]:
    return [
        Route(
            method="GET", path="/v1/queues", view=QueueViews(parts).page, name="listQueues", tag="operations",
            scope="read",
            summary="What waits, model by model, and how long it will take",
            answers={200: Answer(description="The queues", content={"application/json": QueueList})},
        )
    ]  # fmt: skip
