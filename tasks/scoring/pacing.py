"""How large shards are, how many are out, and which take too long. Pure: figures and clocks are handed in."""

from collections.abc import Mapping, Sequence
from statistics import median

from storage.statistics import Histogram
from storage.workers import WorkerStatus

#: What a shard is to take an executor, and most rows of one; with the batch that makes it so many bytes it ends. A
#: larger one makes a loss cost more, a smaller one costs more around it.
SHARD_MS = 1000.0
MOST_ROWS = 16_384
MOST_BYTES = 8 * 2**20
#: Shards out for each executor: one runs, one waits.
EACH = 2
#: Shards that may be done before one that comes first: so many stand in Redis at most.
AHEAD = 256
#: A shard that takes so many times the median, and so long, is run a second time where an executor is idle.
SLOW_TIMES, SLOW_MS = 4.0, 10_000
#: Shards that must have ended before a median says something.
LEAST = 3


def executors(workers: Sequence[WorkerStatus], *, pool: str, model: str, version: str) -> int:
    """Executors that are ready for a model version now."""
    return sum(
        one.executors
        for worker in workers
        if worker.pool == pool
        for one in worker.models
        if (one.model, one.version) == (model, version) and one.state in ("ready", "draining")
    )


def window(executors: int) -> int:
    """Shards that may be out."""
    return max(2, EACH * executors)


def cost_ms(figures: Mapping[str, float]) -> float | None:
    """What a row has taken an executor, milliseconds; None where nothing was measured."""
    rows = figures.get("rows", 0)
    spent = sum(Histogram(figures, stage).sum_ms for stage in ("decode", "compute", "encode"))
    return spent / rows if rows and spent else None


def shard_rows(row_ms: float, *, max_items: int, row_bytes: float = 0.0) -> int:
    """Rows of a shard, a multiple of `max_items`: micro-batches are the same however a table is cut.

    Where rows have so many bytes that it ends early, `row_bytes` says so beforehand.
    """
    most = min(MOST_ROWS, SHARD_MS / max(row_ms, 1e-6), MOST_BYTES / max(row_bytes, 1.0))
    return max(1, int(most) // max_items) * max_items


def whole_batches(rows: int, max_items: int) -> int:
    """`rows` that were asked for, as a multiple of `max_items`."""
    return -(-rows // max_items) * max_items


def halved(rows: int, max_items: int) -> int:
    """Rows of the first half of a shard that failed: whole batches as long as it has several."""
    if rows > max_items:
        return whole_batches(-(-rows // 2), max_items) if rows > 2 * max_items else max_items
    return rows // 2


def straggles(ran_ms: float, durations_ms: Sequence[float], *, expected_ms: float | None = None) -> bool:
    """Whether a shard takes far longer than others did or, where few have ended, than is expected of it."""
    usual_ms = median(durations_ms) if len(durations_ms) >= LEAST else expected_ms
    return usual_ms is not None and ran_ms > max(SLOW_MS, SLOW_TIMES * usual_ms)
