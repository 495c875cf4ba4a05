"""What is measured, and which of it is best: pure."""

import math
from collections.abc import Sequence

import msgspec

#: Rows at once that are tried unless told otherwise.
BATCHES = (1, 2, 4, 8, 16, 32)
#: Rates that differ by less than this share are equal: runs on one machine differ by as much. Of equals, the quickest.
EQUAL = 0.03


class Setup(msgspec.Struct, frozen=True):
    """Executors that are started together."""

    runtime: str
    instances: int
    threads: int


class Point(msgspec.Struct, frozen=True):
    """One setup with one batch size, measured; or why it could not be."""

    runtime: str
    instances: int
    threads: int
    batch: int
    #: Rows of all instances together, a second.
    rows_per_s: float = 0.0
    #: Of one batch, from being sent to an executor until its outputs are back, milliseconds.
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    #: Batches that were run.
    batches: int = 0
    reason: str = ""


def setups(runtimes: Sequence[str], instances: Sequence[int], threads: Sequence[int], cores: int) -> list[Setup]:
    """What to start: as told; else one executor of one thread, and every way to use all cores."""
    counts = powers(cores)
    if instances and threads:
        pairs = [(i, t) for i in instances for t in threads]
    elif instances:
        pairs = [(i, t) for i in instances for t in counts if t == 1 or i * t <= cores]
    elif threads:
        pairs = [(i, t) for t in threads for i in counts if i == 1 or i * t <= cores]
    else:
        pairs = [(1, 1), *((i, cores // i) for i in counts)]
    unique = list(dict.fromkeys(pairs))
    return [Setup(runtime, i, t) for runtime in runtimes for i, t in unique]


def powers(cores: int) -> list[int]:
    """1, 2, 4 … and the number of cores itself."""
    return sorted({2**n for n in range(cores.bit_length()) if 2**n <= cores} | {cores})


def summary(setup: Setup, batch: int, *, took_ms: Sequence[float], rows: int, elapsed_s: float) -> Point:
    ordered = sorted(took_ms)
    return Point(
        setup.runtime,
        setup.instances,
        setup.threads,
        batch,
        rows_per_s=round(rows / elapsed_s, 2),
        p50_ms=round(quantile(ordered, 0.5), 3),
        p99_ms=round(quantile(ordered, 0.99), 3),
        batches=len(ordered),
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that so large a share does not exceed (nearest rank)."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def best(points: Sequence[Point], *, target_ms: float | None) -> Point | None:
    """The most rows a second among those whose p99 meets the target; of nearly equal ones the quickest, then the
    smallest."""
    fit = [point for point in points if not point.reason and (target_ms is None or point.p99_ms <= target_ms)]
    if not fit:
        return None
    most = max(point.rows_per_s for point in fit)
    equal = [point for point in fit if point.rows_per_s >= most * (1 - EQUAL)]
    return min(equal, key=lambda point: (point.p50_ms, point.instances * point.threads, point.batch))
