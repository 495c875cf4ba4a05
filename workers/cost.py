"""What a batch costs, measured: `a · load + b` milliseconds, fitted over recent batches. Pure.

Load is what the batcher bounds: rows times the weight of the heaviest. The line is the weighted Theil-Sen estimate
(Sen 1968; weights of Jaeckel 1972): the median of the slopes between all pairs of sizes, so that some wild
measurements move it little. Sizes that were not run for long are forgotten: machines and models change.
"""

import math
from collections import deque
from collections.abc import Iterable
from itertools import combinations
from typing import NamedTuple

#: Measurements kept of one size.
KEPT = 16
#: Sizes are told apart in steps of an eighth of a power of two, so that there are few of them.
STEPS = 8
#: A size that was not run in so many batches is forgotten, and so tried again where it once was too slow.
REMEMBERED = 128
#: Measurements of a size before it counts: one alone may be a wild one.
PROOF = 2
#: How much larger than the largest size measured a batch may be: a line is not trusted far from its points.
GROWTH = 2


class Line(NamedTuple):
    """Milliseconds of a batch: a · load + b."""

    a: float
    b: float


class Point(NamedTuple):
    """What one size usually costs."""

    load: float
    ms: float
    #: Measurements behind it.
    times: int


class Size:
    """The newest measurements of one size."""

    def __init__(self) -> None:
        self.measured: deque[tuple[int, float]] = deque(maxlen=KEPT)
        self.last = 0

    def point(self) -> Point:
        """Its medians; of two measurements the smaller."""
        middle = (len(self.measured) - 1) // 2
        loads, times = sorted(load for load, _ in self.measured), sorted(ms for _, ms in self.measured)
        return Point(loads[middle], times[middle], len(times))


class Cost:
    """The measured batches of one model version on one kind of device. Not thread-safe."""

    def __init__(self) -> None:
        self._sizes: dict[int, Size] = {}
        self._batches = 0

    def observe(self, load: int, ms: float) -> None:
        """Note that a batch of this load took so long."""
        self._batches += 1
        size = self._sizes.setdefault(round(STEPS * math.log2(load)), Size())
        size.measured.append((load, ms))
        size.last = self._batches
        if self._batches % KEPT == 0:
            self._sizes = {step: size for step, size in self._sizes.items() if self._batches - size.last < REMEMBERED}

    def most(self, target_ms: float) -> int:
        """The largest load that should take `target_ms` at most; at least 1.

        1 until something was measured. Grows at most by `GROWTH` from size to size, and stays below one that proved
        too slow.
        """
        points = self._points()
        if not points:
            return 1
        line, largest = fit(points), points[-1]
        bound = GROWTH * largest.load
        if line.a > 0:
            bound = min(bound, (target_ms - line.b) / line.a)
        if len(points) == 1 and largest.ms <= target_ms:
            # What one more costs is only known once it was tried.
            bound = max(bound, largest.load + 1)
        slow = (point.load for point in points if point.ms > target_ms)
        # The epsilon undoes what floats lose where the target is met exactly.
        return max(1, math.floor(min(bound, next(slow, math.inf) - 1) + 1e-6))

    def line(self) -> Line | None:
        """The fitted cost; None before a size was measured often enough."""
        points = self._points()
        return fit(points) if points else None

    def _points(self) -> list[Point]:
        return sorted(size.point() for size in self._sizes.values() if len(size.measured) >= PROOF)


def fit(points: list[Point]) -> Line:
    """The line through the points, smallest load first; where there is one only, all of its cost grows with load."""
    if len(points) == 1:
        return Line(points[0].ms / points[0].load, 0.0)
    slopes = (
        ((q.ms - p.ms) / (q.load - p.load), (q.load - p.load) * min(p.times, q.times))
        for p, q in combinations(points, 2)
        if q.load > p.load
    )
    a = max(0.0, weighted_median(slopes))
    return Line(a, weighted_median((point.ms - a * point.load, point.times) for point in points))


def weighted_median(weighted: Iterable[tuple[float, float]]) -> float:
    """The value in the middle of the weight."""
    ordered = sorted(weighted)
    half = sum(weight for _, weight in ordered) / 2
    passed = 0.0
    for value, weight in ordered:
        passed += weight
        if passed >= half:
            return value
    return 0.0
