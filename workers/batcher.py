"""Which of the jobs that wait make the next batch. The policy is pure; `Batcher` puts a lock and a clock around it.

Work-conserving: an executor that is idle gets what is there at once; while it is busy the next batch grows.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

from tasks.message import LANES

#: In so many batches one begins with `normal`, and one with `low`, so that neither starves behind `high`.
NORMAL_EVERY = 8
LOW_EVERY = 16


class Entry(Protocol):
    """What the policy knows of a waiting job."""

    @property
    def rows(self) -> int: ...
    @property
    def arrived_s(self) -> float: ...


class Limits(NamedTuple):
    #: Rows in a batch, unless one job alone has more.
    max_items: int
    #: How long the oldest job may wait for company, seconds.
    max_wait_s: float = 0.0


def lane_order(turn: int) -> tuple[str, ...]:
    """The lanes as batch number `turn` (from 1) is filled: high, normal, low, and now and then another one first."""
    if turn % LOW_EVERY == 0:
        return ("low", "high", "normal")
    if turn % NORMAL_EVERY == 0:
        return ("normal", "high", "low")
    return LANES


def take(
    waiting: Mapping[str, Sequence[Entry]], *, now_s: float, limits: Limits, turn: int
) -> tuple[dict[str, int], float]:
    """How many of each lane's oldest to run now, and otherwise how long to wait for more, seconds.

    Takes from the front of each lane in `lane_order(turn)` while the rows fit; a job with more rows than a batch
    holds runs alone. Nothing is taken, and the wait is positive, only while a batch that is not full may still
    wait for company.
    """
    counts: dict[str, int] = {}
    rows, oldest, full = 0, now_s, False
    for lane in lane_order(turn):
        for entry in waiting.get(lane, ()):
            if rows and rows + entry.rows > limits.max_items:
                full = True
                break
            rows += entry.rows
            counts[lane] = counts.get(lane, 0) + 1
            oldest = min(oldest, entry.arrived_s)
        if full or rows >= limits.max_items:
            full = True
            break
    left = oldest + limits.max_wait_s - now_s
    if counts and not full and left > 0:
        return {}, left
    return counts, 0.0


E_ = TypeVar("E_", bound=Entry)


class Batcher(Generic[E_]):
    """The jobs that wait for one model version's executors. Thread-safe."""

    def __init__(self, limits: Limits, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock_s = clock_s
        self._lanes: dict[str, deque[E_]] = {lane: deque() for lane in LANES}
        self._alone: deque[E_] = deque()
        self._turn = 0
        self._closed = False
        self._changed = threading.Condition()

    def put(self, lane: str, entry: E_) -> None:
        with self._changed:
            self._lanes[lane].append(entry)
            self._changed.notify()

    def put_alone(self, entries: Sequence[E_]) -> None:
        """Suspects: each runs in a batch of its own, before anything else."""
        with self._changed:
            self._alone.extend(entries)
            self._changed.notify_all()

    def take(self) -> list[E_]:
        """The next batch; blocks until there is one. Empty once closed."""
        with self._changed:
            while not self._closed:
                if self._alone:
                    return [self._alone.popleft()]
                counts, wait_s = take(self._lanes, now_s=self._clock_s(), limits=self._limits, turn=self._turn + 1)
                if counts:
                    self._turn += 1
                    return [self._lanes[lane].popleft() for lane, count in counts.items() for _ in range(count)]
                self._changed.wait(wait_s or None)
            return []

    def discard(self, unwanted: Callable[[E_], bool]) -> None:
        """Forget the waiting jobs that a condition names (their channel is gone: the broker delivers them again)."""
        with self._changed:
            for lane, entries in self._lanes.items():
                self._lanes[lane] = deque(entry for entry in entries if not unwanted(entry))

    def close(self) -> list[E_]:
        """Take no more; returns what still waited."""
        with self._changed:
            self._closed = True
            rest = [*self._alone, *(entry for lane in LANES for entry in self._lanes[lane])]
            self._alone.clear()
            for entries in self._lanes.values():
                entries.clear()
            self._changed.notify_all()
            return rest

    def __len__(self) -> int:
        with self._changed:
            return len(self._alone) + sum(map(len, self._lanes.values()))
