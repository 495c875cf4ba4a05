"""A thread that does the farm's chores every moment, as a rule in one process of the farm at a time."""

import logging
import threading
import uuid
from abc import ABC, abstractmethod
from typing import Any

import redis
from celery import bootsteps
from redis.exceptions import LockError, RedisError

from storage import keys

log = logging.getLogger(__name__)

TICK_S = 0.25
#: How long the lock outlives a process that died, seconds.
LOCK_S = 10


class Ticking(ABC):
    """Calls `work` again and again while it holds the farm's lock of that name; without `client`, in every process."""

    def __init__(self, name: str, client: "redis.Redis | None") -> None:
        self._name = name
        self._lock = client and client.lock(keys.lock(name), timeout=LOCK_S, blocking=False, thread_local=False)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"{name}-{uuid.uuid4().hex[:6]}", daemon=True)

    @abstractmethod
    def work(self) -> None:
        """Do what is due; may be done twice, and may raise: what is due stays due."""

    def close(self) -> None:  # noqa: B027
        """Called once, at the end, in the thread."""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(TICK_S):
            try:
                if self._held():
                    self.work()
            # A part of the farm is away, or another process took over: what is due stays due. Everything, because
            # transports raise whatever they like, and a thread that ended would be missed by nobody.
            except Exception as error:  # noqa: BLE001
                log.warning(f"{self._name} could not work", extra={"reason": repr(error)})
        self.close()
        try:
            if self._lock is not None and self._lock.owned():
                self._lock.release()
        except (RedisError, LockError) as error:
            log.info(f"{self._name} lock left to run out", extra={"reason": str(error)})

    def _held(self) -> bool:
        """Keep the lock, or try to get it."""
        if self._lock is None:
            return True
        if self._lock.owned():
            self._lock.reacquire()
            return True
        return bool(self._lock.acquire())


def ticking_step(thread: Ticking) -> type[Any]:
    """A bootstep that runs `thread` for as long as the orchestrator's Celery worker lives."""

    class TickingStep(bootsteps.StartStopStep):  # type: ignore[misc]
        # Of two steps with one name Celery keeps one.
        name = f"{type(thread).__module__}.{type(thread).__name__}"

        def start(self, worker: Any) -> None:
            thread.start()

        def stop(self, worker: Any) -> None:
            thread.stop()

    return TickingStep
