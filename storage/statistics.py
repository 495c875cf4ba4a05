"""What the executors of a model version did, ever since: counters and histograms, in one hash that only grows.

Each worker adds what came since its last sign of life, so that nothing is lost when it ends, and nothing falls.
"""

import threading
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from itertools import accumulate

#: Upper bounds of the buckets, milliseconds; one bucket more lies beyond them.
BOUNDS_MS = (
    0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10_000.0, 30_000.0,
    60_000.0, 300_000.0,
)  # fmt: skip
#: Where a job's time goes. `queue`: from its submission to its batch, for each job; the others for each batch: reading
#: and preparing inputs, the model, making and writing outputs, and storing the outcomes.
STAGES = ("queue", "decode", "compute", "encode", "commit")
#: Why an executor was replaced.
CAUSES = ("died", "hung", "oversized")

#: Fields of the hash, and how much to add to each: a whole number, except to a sum of milliseconds.
Figures = dict[str, float]

_BUCKETS = {stage: [f"{stage}:{number}" for number in range(len(BOUNDS_MS) + 1)] for stage in STAGES}
_SUMS = {stage: f"{stage}:sum" for stage in STAGES}


class Recorder:
    """Figures as they come, of one model version in one worker. Thread-safe."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._figures: Figures = {}

    def add_batch(
        self, *, rows: int, queue_ms: Iterable[float], stages_ms: Mapping[str, float], batches: int = 1
    ) -> None:
        """`batches`: so many together, which are taken to have cost the same; 0 for what belongs to none."""
        with self._guard:
            _add(self._figures, "rows", rows)
            _add(self._figures, "batches", batches)
            for ms in queue_ms:
                self._observe("queue", ms)
            for stage, ms in stages_ms.items():
                self._observe(stage, ms, max(1, batches))

    def add_restart(self, cause: str) -> None:
        with self._guard:
            _add(self._figures, "restarts:" + cause, 1)

    def take(self) -> Figures:
        """What came since the last time."""
        with self._guard:
            taken, self._figures = self._figures, {}
        return taken

    def put_back(self, figures: Figures) -> None:
        """What was taken and could not be stored."""
        with self._guard:
            self._figures = total([self._figures, figures])

    def _observe(self, stage: str, ms: float, times: int = 1) -> None:
        _add(self._figures, _BUCKETS[stage][bisect_left(BOUNDS_MS, ms / times)], times)
        _add(self._figures, _SUMS[stage], float(ms))


class Histogram:
    """One stage of some figures."""

    def __init__(self, figures: Mapping[str, float], stage: str) -> None:
        #: By bucket.
        self.counts = [int(figures.get(name, 0)) for name in _BUCKETS[stage]]
        self.sum_ms = figures.get(_SUMS[stage], 0.0)

    @property
    def count(self) -> int:
        return sum(self.counts)

    def quantile_ms(self, share: float) -> float | None:
        """An estimate: as if the values of a bucket lay evenly in it. Above the last bound it is that bound."""
        wanted = share * self.count
        if not wanted:
            return None
        below = 0
        for count, up_to, low, high in zip(
            self.counts, accumulate(self.counts), (0.0, *BOUNDS_MS), (*BOUNDS_MS, BOUNDS_MS[-1]), strict=True
        ):
            if up_to >= wanted:
                return low + (high - low) * (wanted - below) / count
            below = up_to
        return BOUNDS_MS[-1]


def total(some: Iterable[Mapping[str, float]]) -> Figures:
    """Figures added up."""
    whole: Figures = {}
    for figures in some:
        for name, more in figures.items():
            _add(whole, name, more)
    return whole


def _add(figures: Figures, name: str, more: float) -> None:
    figures[name] = figures.get(name, 0) + more
