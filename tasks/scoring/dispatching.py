"""The Celery task that drives scorings, and the tick that has it run.

A task names no scoring: which is next, and who drives which, stands in Redis alone. So a task that is lost, or comes
twice, or to a process that dies, does no harm: what nobody drives is asked for again.
"""

import logging
import threading
import time
from typing import Any

from celery import Celery

from errors import StoreUnavailable
from storage.driven import take, wanting
from storage.scorings import Scorings
from tasks.posting import Post
from tasks.scoring.parts import Parts
from tasks.ticking import Ticking

log = logging.getLogger(__name__)

#: Celery's name of the task.
TASK = "penstock.scorings.drive"
#: Scorings that one orchestrator drives at once: most of them wait, for executors that others keep busy or that are
#: not there at all.
MOST = 16
#: And of one tenant, on the whole farm: however long its scorings wait, others get theirs begun.
MOST_OF_ONE = MOST // 2
#: Seconds between two rounds of tasks, and after which one in the broker is worth nothing.
AGAIN_S, STALE_S = 1.0, 5


class Dispatcher(Ticking):
    """Publishes a task for each scoring that nobody drives."""

    def __init__(self, app: Celery, scorings: Scorings, *, queue: str) -> None:
        # No lock: asking twice does no harm, and waiting out the lock of one that died would.
        super().__init__("scorings", None)
        self._scorings = scorings
        self._post = Post(app, queue=queue)
        self._next_s = 0.0

    def work(self) -> None:
        if time.monotonic() < self._next_s:
            return
        if count := min(MOST, wanting(self._scorings)):
            self._next_s = time.monotonic() + AGAIN_S
            self._post.send_all([(TASK, ())] * count, stale_s=STALE_S)

    def close(self) -> None:
        self._post.close()


class Seats:
    """Of one orchestrator: so many scorings it drives at once."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._free = threading.BoundedSemaphore(MOST)
        self.stop = threading.Event()

    def drive(self) -> int:
        """Drive what nobody drives, one after the other; how many. Nothing where all seats are taken."""
        if not self._free.acquire(blocking=False):
            return 0
        try:
            return self._drive()
        finally:
            self._free.release()

    def _drive(self) -> int:
        # A leaf: an orchestrator without scorings does not pay for pyarrow.
        from tasks.scoring.driving import Driver

        driven = 0
        while not self.stop.is_set():
            hold = take(self._parts.scorings, most=MOST_OF_ONE)
            if hold is None:
                break
            log.info("a scoring is driven", extra={"scoring": hold.id, "epoch": hold.epoch})
            Driver(hold, self._parts, self.stop).drive()
            driven += 1
        return driven


def register(app: Celery, seats: Seats) -> Any:
    """Make the task known to this process's Celery."""

    def drive() -> None:
        try:
            seats.drive()
        except StoreUnavailable as error:
            log.warning("scorings wait for the store", extra={"reason": error.detail})

    return app.task(drive, name=TASK, ignore_result=True)
