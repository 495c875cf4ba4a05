"""A pipeline's jobs under way in one worker: what is open for each, how long it may take, and how many there may be."""

import threading
from collections.abc import Sequence

from storage.clock import wall_ms
from workers.lane import Delivery
from workers.stepping import StepEntry


class Flight:
    """One job under way."""

    def __init__(self, delivery: Delivery, *, limit_s: float, now_s: float) -> None:
        self.delivery = delivery
        self.limit_s = min(delivery.timeout_s or limit_s, limit_s)
        self.began_s = now_s
        self.began_ms = wall_ms()
        self.until_s = now_s + self.limit_s
        #: Its steps' calls that wait or run, by number.
        self.open: dict[int, StepEntry] = {}

    @property
    def steps(self) -> list[str]:
        """The steps it is in."""
        return sorted({entry.call.step for entry in self.open.values()})

    def abandon(self) -> None:
        """What waits for it is not run; what runs is not looked at."""
        for entry in self.open.values():
            entry.wanted = False


class Room:
    """How much may be under way. A job that took its process down runs with nothing else beside it."""

    def __init__(self, most_rows: int) -> None:
        self._most = most_rows
        self._rows = 0
        self._lone = False
        self._suspects: set[str] = set()
        self._changed = threading.Condition()
        self._closed = False

    def suspect(self, deliveries: Sequence[Delivery]) -> None:
        with self._changed:
            self._suspects.update(delivery.id for delivery in deliveries)

    def take(self, batch: Sequence[Delivery]) -> bool:
        """Wait until there is room for the jobs; False when there will be none."""
        rows = sum(delivery.rows for delivery in batch)
        with self._changed:
            lone = any(delivery.id in self._suspects for delivery in batch)
            self._changed.wait_for(lambda: self._closed or self._fits(rows, lone))
            if self._closed:
                return False
            self._rows += rows
            self._lone = lone
            return True

    def _fits(self, rows: int, lone: bool) -> bool:
        return self._rows == 0 or not (lone or self._lone or self._rows + rows > self._most)

    def give(self, deliveries: Sequence[Delivery], *, ended: bool) -> None:
        """The jobs are under way no longer; `ended`: nor will they be again."""
        with self._changed:
            self._rows -= sum(delivery.rows for delivery in deliveries)
            self._lone = self._lone and self._rows > 0
            if ended:
                self._suspects.difference_update(delivery.id for delivery in deliveries)
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
