"""Which of the jobs that wait make the next batch. The policy is pure; `Batcher` puts a lock and a clock around it.

Work-conserving: an executor that is idle gets what is there at once; while it is busy the next batch grows. The
oldest job leads, and others that are like it join, so that nothing waits for ever because it is unlike the rest.
"""

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

from tasks.message import LANES

#: In so many batches one begins with `normal`, and one with `low`, so that neither starves behind `high`.
NORMAL_EVERY = 8
LOW_EVERY = 16
#: Lanes that go before a shard's next slice.
URGENT = ("high", "normal")


class Entry(Protocol):
    """What the policy knows of a waiting job."""

    @property
    def rows(self) -> int: ...
    @property
    def weight(self) -> int:
        """Of the heaviest row, from 1 up."""

    @property
    def likeness(self) -> Hashable:
        """Equal for jobs that may share a batch."""

    @property
    def arrived_s(self) -> float: ...
    @property
    def start_by_ms(self) -> int:
        """Not started by then (wall clock): expired. 0: waits for ever."""


E_ = TypeVar("E_", bound=Entry)
#: Lane -> likeness -> jobs, oldest first; nothing empty below a lane.
Waiting = Mapping[str, Mapping[Hashable, Sequence[Entry]]]


class Limits(NamedTuple):
    #: Rows in a batch, unless one job alone has more.
    max_items: int
    #: How long the oldest job may wait for company, seconds.
    max_wait_s: float = 0.0
    #: Rows times the weight of the heaviest, unless one job alone has more.
    max_weight: int = sys.maxsize

    def hold(self, rows: int, weight: int) -> bool:
        """Whether a batch of so many rows, the heaviest of `weight`, is within them."""
        return rows <= self.max_items and rows * weight <= self.max_weight


class Alone(NamedTuple):
    """The likeness of a shard: it shares its executor's time with others, and no batch."""

    id: str


class Choice(NamedTuple):
    """A batch: of each lane so many of the oldest jobs of one likeness."""

    likeness: Hashable
    counts: dict[str, int]
    oldest_s: float
    #: Whether not even the smallest job would join.
    full: bool


def likeness(shape: str, weight: int) -> Hashable:
    """What jobs of a batch have in common: their shape, and the two powers of two that their weight is between."""
    return (shape, weight.bit_length())


def load(batch: Sequence[Entry]) -> int:
    """What a batch weighs: its rows times the weight of the heaviest."""
    return sum(entry.rows for entry in batch) * max(entry.weight for entry in batch)


def lane_order(turn: int) -> tuple[str, ...]:
    """The lanes as batch number `turn` (from 1) is filled: high, normal, low, and now and then another one first."""
    if turn % LOW_EVERY == 0:
        return ("low", "high", "normal")
    if turn % NORMAL_EVERY == 0:
        return ("normal", "high", "low")
    return LANES


def take(waiting: Waiting, *, now_s: float, limits: Limits, turn: int) -> tuple[Choice | None, float]:
    """The batch to run now, or None and how long to wait for more, seconds; 0 where nothing waits.

    The oldest job of the first lane of `lane_order(turn)` that has any leads, and its like join from all lanes while
    they fit; a job that alone is more than a batch holds runs alone. None only while a batch that is not full may
    still wait for company; meanwhile one that others lead may run.
    """
    order = lane_order(turn)
    wait_s = 0.0
    for lead in leads(waiting, order):
        choice = fill(waiting, lead, order, limits)
        left = choice.oldest_s + limits.max_wait_s - now_s
        if choice.full or left <= 0:
            return choice, 0.0
        wait_s = min(wait_s or left, left)
    return None, wait_s


def leads(waiting: Waiting, order: Sequence[str]) -> Iterator[Hashable]:
    """Likenesses by lane, in a lane by their oldest job; one comes again where several lanes have it."""
    for lane in order:
        groups = waiting[lane]
        if groups:
            yield min(groups, key=lambda key: groups[key][0].arrived_s)
            # Asked for only while the first may wait for company.
            yield from sorted(groups, key=lambda key: groups[key][0].arrived_s)[1:]


def fill(waiting: Waiting, like: Hashable, order: Sequence[str], limits: Limits) -> Choice:
    """The oldest jobs of one likeness that fit together, lane by lane; the first in any case."""
    counts: dict[str, int] = {}
    rows, heaviest, oldest_s = 0, 1, float("inf")
    if isinstance(like, Alone):
        lane = next(lane for lane in order if like in waiting[lane])
        return Choice(like, {lane: 1}, waiting[lane][like][0].arrived_s, full=True)
    for lane in order:
        for entry in waiting[lane].get(like, ()):
            weight = max(heaviest, entry.weight)
            if rows and not limits.hold(rows + entry.rows, weight):
                return Choice(like, counts, oldest_s, full=True)
            rows += entry.rows
            heaviest = weight
            counts[lane] = counts.get(lane, 0) + 1
            oldest_s = min(oldest_s, entry.arrived_s)
    return Choice(like, counts, oldest_s, full=not limits.hold(rows + 1, heaviest))


def without_shards(groups: Mapping[Hashable, Sequence[Entry]]) -> Mapping[Hashable, Sequence[Entry]]:
    return {like: group for like, group in groups.items() if not isinstance(like, Alone)}


class Batcher(Generic[E_]):
    """The jobs that wait for one model version's executors. Thread-safe."""

    def __init__(self, limits: Limits, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._limits = self._declared = limits
        self._clock_s = clock_s
        self._lanes: dict[str, dict[Hashable, deque[E_]]] = {lane: {} for lane in LANES}
        self._alone: deque[E_] = deque()
        self._turn = 0
        #: Executors that wait for a batch.
        self._idle = 0
        self._closed = False
        #: No waiting job has to start before, milliseconds.
        self._soonest_ms = sys.maxsize
        self._changed = threading.Condition()

    def put(self, lane: str, entry: E_) -> None:
        with self._changed:
            groups = self._lanes[lane]
            group = groups.get(entry.likeness)
            if group is None:
                group = groups[entry.likeness] = deque()
            group.append(entry)
            if entry.start_by_ms:
                self._soonest_ms = min(self._soonest_ms, entry.start_by_ms)
            self._changed.notify()

    def put_alone(self, entries: Sequence[E_]) -> bool:
        """Suspects: each runs in a batch of its own, before anything else. False once closed: they are not taken."""
        with self._changed:
            if self._closed:
                return False
            self._alone.extend(entries)
            self._changed.notify_all()
            return True

    def put_back(self, entries: Sequence[tuple[str, E_]]) -> bool:
        """A batch that did not begin (each job with its lane) goes to the front. False once closed: it is not taken."""
        with self._changed:
            if self._closed:
                return False
            for lane, entry in reversed(entries):
                self._lanes[lane].setdefault(entry.likeness, deque()).appendleft(entry)
            self._changed.notify_all()
            return True

    def take(self) -> list[E_]:
        """The next batch; blocks until there is one. Empty once closed."""
        with self._changed:
            while not self._closed:
                if self._alone:
                    return [self._alone.popleft()]
                choice, wait_s = self._choose()
                if choice:
                    return self._pop(choice)
                self._idle += 1
                self._changed.wait(wait_s or None)
                self._idle -= 1
            return []

    def ahead(self, *, full: bool) -> list[E_]:
        """A batch for an executor that is still busy: empty where none is due, or an idle one will take it.

        `full`: only one that nothing could join.
        """
        with self._changed:
            if self._closed or self._alone or self._idle:
                return []
            choice, _ = self._choose()
            if choice is None or isinstance(choice.likeness, Alone):
                return []
            return self._pop(choice) if choice.full or not full else []

    def urgent(self) -> list[E_]:
        """A batch to run between two slices of a shard: of suspects and the upper lanes, and no shard.

        Empty where none is due, or an idle executor will take it.
        """
        with self._changed:
            if self._closed or self._idle:
                return []
            for entry in self._alone:
                if not isinstance(entry.likeness, Alone):
                    self._alone.remove(entry)
                    return [entry]
            upper: Waiting = {lane: without_shards(self._lanes[lane]) if lane in URGENT else {} for lane in LANES}
            choice, _ = take(upper, now_s=self._clock_s(), limits=self._limits, turn=self._turn + 1)
            return self._pop(choice) if choice else []

    def another(self) -> list[E_]:
        """A shard to follow one that is nearly done; empty where something else has its turn, or an idle executor."""
        with self._changed:
            if self._closed or self._alone or self._idle:
                return []
            choice, _ = self._choose()
            return self._pop(choice) if choice and isinstance(choice.likeness, Alone) else []

    def bound(self, max_weight: int | None) -> None:
        """Let no batch weigh more, besides what the manifest allows; None: nothing more than that."""
        with self._changed:
            declared = self._declared.max_weight
            self._limits = self._declared._replace(max_weight=min(max_weight or declared, declared))

    def late(self, now_ms: int) -> list[E_]:
        """The waiting jobs whose time to start has passed; they stay until they are taken or discarded."""
        with self._changed:
            if now_ms <= self._soonest_ms:
                return []
            timed = [entry for entry in self._all() if entry.start_by_ms]
            self._soonest_ms = min((entry.start_by_ms for entry in timed), default=sys.maxsize)
            return [entry for entry in timed if entry.start_by_ms < now_ms]

    def discard(self, unwanted: Callable[[E_], bool]) -> list[E_]:
        """Forget the waiting jobs that a condition names, and return them; suspects stay."""
        with self._changed:
            gone = [entry for entry in self._all() if unwanted(entry)]
            if gone:
                ids = set(map(id, gone))
                for lane, groups in self._lanes.items():
                    kept = {key: deque(e for e in group if id(e) not in ids) for key, group in groups.items()}
                    self._lanes[lane] = {key: group for key, group in kept.items() if group}
            return gone

    def close(self) -> list[E_]:
        """Take no more; returns what still waited."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            return self.empty()

    def empty(self) -> list[E_]:
        """Forget all that waits, suspects too, and return it."""
        with self._changed:
            rest = [*self._alone, *self._all()]
            self._alone.clear()
            for groups in self._lanes.values():
                groups.clear()
            return rest

    def __len__(self) -> int:
        with self._changed:
            return len(self._alone) + sum(1 for _ in self._all())

    def _choose(self) -> tuple[Choice | None, float]:
        return take(self._lanes, now_s=self._clock_s(), limits=self._limits, turn=self._turn + 1)

    def _pop(self, choice: Choice) -> list[E_]:
        self._turn += 1
        batch: list[E_] = []
        for lane, count in choice.counts.items():
            group = self._lanes[lane][choice.likeness]
            batch += [group.popleft() for _ in range(count)]
            if not group:
                del self._lanes[lane][choice.likeness]
        return batch

    def _all(self) -> Iterator[E_]:
        return (entry for groups in self._lanes.values() for group in groups.values() for entry in group)
