"""What comes from many requests at once, handled together by one thread: one round trip for all of them."""

import logging
import threading
from collections.abc import Callable, Iterable
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")


class Grouped(Generic[T]):
    """Hands what waits to `handle`, at most `most` at a time, in order. Its thread starts with the first item.

    `handle` answers for its group's errors; one that it raises all the same is logged.
    """

    def __init__(self, name: str, handle: Callable[[list[T]], None], *, most: int) -> None:
        self._name = name
        self._handle = handle
        self._most = most
        #: None: no more will come.
        self._queue: SimpleQueue[T | None] = SimpleQueue()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, items: Iterable[T]) -> None:
        for item in items:
            self._queue.put(item)
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                    self._thread.start()

    def close(self) -> None:
        """Handle what waits, then end."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()

    def _run(self) -> None:
        going = True
        while going:
            group, going = self._next()
            if group:
                try:
                    self._handle(group)
                # The thread goes on for the others.
                except Exception:
                    log.exception("a group could not be handled", extra={"group": self._name, "items": len(group)})

    def _next(self) -> tuple[list[T], bool]:
        """What waits, at least one item; False where it was the last."""
        group: list[T] = []
        item = self._queue.get()
        while item is not None:
            group.append(item)
            if len(group) >= self._most:
                return group, True
            try:
                item = self._queue.get_nowait()
            except Empty:
                return group, True
        return group, False
