"""What driving a scoring takes, put together once a process."""

import threading
from dataclasses import dataclass

from errors import PenstockError
from settings import Settings
from storage.connection import Client
from storage.driven import Hold, LeaseLost
from storage.jobs import JobStore
from storage.objects import Objects
from storage.scorings import Scorings
from storage.workers import Workers
from tasks.publisher import Publisher
from tasks.signing import Signing


@dataclass(frozen=True, kw_only=True)
class Parts:
    settings: Settings
    client: Client
    scorings: Scorings
    jobs: JobStore
    workers: Workers
    objects: Objects
    publisher: Publisher
    signing: Signing | None


class Stopped(Exception):
    """The process is to end; another goes on."""


class Watch:
    """Whether to go on with a scoring: a sign of life every moment, in a thread, however long a step takes."""

    #: Seconds between signs of life.
    PULSE_S = 1.5

    def __init__(self, hold: Hold, stop: threading.Event) -> None:
        self._hold = hold
        self.stop = stop
        self._lost = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"pulse-{hold.id}", daemon=True)
        self._thread.start()

    def check(self, *_: object) -> None:
        """Raises Stopped or LeaseLost where this process is not to go on."""
        if self.stop.is_set():
            raise Stopped
        if self._lost.is_set():
            raise LeaseLost

    def wait(self, seconds: float) -> None:
        """Raises as `check`."""
        self.stop.wait(seconds)
        self.check()

    def close(self) -> None:
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._over.wait(self.PULSE_S):
            try:
                self._hold.note()
            except LeaseLost:
                self._lost.set()
                return
            # The store is away: whoever drives waits for it as well.
            except PenstockError:
                continue
