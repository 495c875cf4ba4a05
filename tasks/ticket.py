"""One message on its way to the broker."""

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from errors import BrokerUnavailable

#: Seconds that a client is told to wait before it asks again.
RETRY_AFTER_S = 2.0


class Outgoing(NamedTuple):
    queue: str
    id: str
    body: bytes
    #: Of an answer to who pushed a job: it goes by the exchange for those.
    correlation_id: str = ""


class Unroutable(BrokerUnavailable):
    """The broker has no such queue."""


class QueueRefuses(BrokerUnavailable):
    """The broker refused the message: its queue is full."""


class Ticket:
    """`wait` returns once the broker has confirmed the message. `told` is called at its end."""

    __slots__ = ("_told", "_waiting", "deadline", "done", "error", "message")

    def __init__(self, message: Outgoing, deadline: float, told: Callable[[], None] | None = None) -> None:
        self.message = message
        #: Monotonic seconds.
        self.deadline = deadline
        self.error: Exception | None = None
        #: Set once, by the publisher's thread.
        self.done = False
        self._told = told
        self._waiting = threading.Lock()
        self._waiting.acquire()

    def settle(self, error: Exception | None = None) -> None:
        if not self.done:
            self.done = True
            self.error = error
            self._waiting.release()
            if self._told is not None:
                self._told()

    def wait(self) -> None:
        """Block until confirmed; raises BrokerUnavailable."""
        if not self._waiting.acquire(timeout=max(0.0, self.deadline - time.monotonic())):
            raise away("the broker did not confirm in time")
        self._waiting.release()
        if self.error is not None:
            raise self.error


def away(detail: str) -> BrokerUnavailable:
    return BrokerUnavailable(detail, retry_after_s=RETRY_AFTER_S)
