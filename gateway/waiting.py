"""Waiting for jobs to end: one Redis subscription a process, one thread that reads it, and no polling.

Whoever waits registers first and reads the record second, so that an end in between is not missed. When the
subscription is lost, it is made again and everybody waiting looks at the record once.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import redis
from redis.exceptions import RedisError, TimeoutError

from storage import keys

log = logging.getLogger(__name__)

#: Seconds without a message after which the subscription is tested with a ping.
SILENCE_S = 5.0
#: Seconds that the thread has to end.
CLOSE_S = 1.0
#: Seconds between tries to subscribe again.
PAUSE_S = 0.25


class Waiter:
    """Somebody who waits for one job."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def wait(self, timeout_s: float) -> bool:
        """True once woken: the job may have ended, or the waiting was cut short; look at the record."""
        return self._lock.acquire(timeout=max(0.0, timeout_s))

    def wake(self) -> None:
        """Called by one thread at a time: two would release the lock twice."""
        if self._lock.locked():
            self._lock.release()


class Watch:
    """Entering and leaving; a class, since a generator costs three times as much."""

    __slots__ = ("_id", "_waiter", "_waiting")

    def __init__(self, waiting: "Waiting", id: str) -> None:
        self._waiting, self._id = waiting, id
        self._waiter: Waiter | None = None

    def __enter__(self) -> Waiter | None:
        self._waiter = self._waiting.enter(self._id)
        return self._waiter

    def __exit__(self, *_: object) -> None:
        if self._waiter is not None:
            self._waiting.leave(self._id, self._waiter)


class Waiting:
    """Everybody in this process who waits."""

    def __init__(self, client: "redis.Redis", *, slots: int) -> None:
        self._client = client
        #: How many may wait at once: each holds a request thread, and some must be left for everything else.
        self._slots, self._taken = slots, 0
        self._waiters: dict[str, set[Waiter]] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()
        #: Streams that want to know of every move; the subscription covers these only while there are some.
        self._streams = 0
        self._connection: redis.Connection | None = None

    @property
    def closed(self) -> bool:
        return self._closed.is_set()

    def watch(self, id: str) -> "Watch":
        """For `with`: a waiter for the job `id`; None where too many wait already or this process is ending."""
        return Watch(self, id)

    def enter(self, id: str) -> Waiter | None:
        with self._lock:
            if self._taken >= self._slots or self._closed.is_set():
                return None
            self._taken += 1
            waiter = Waiter()
            self._waiters.setdefault(id, set()).add(waiter)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="waiting", daemon=True)
                self._thread.start()
        return waiter

    def leave(self, id: str, waiter: Waiter) -> None:
        with self._lock:
            self._taken -= 1
            others = self._waiters[id]
            others.discard(waiter)
            if not others:
                del self._waiters[id]

    @contextmanager
    def follow(self, id: str) -> Iterator[Waiter | None]:
        """Like `watch`, but the waiter is woken by every change of the job's state, not only the last."""
        with self.watch(id) as waiter:
            if waiter is None:
                yield None
                return
            self._count_streams(1)
            try:
                yield waiter
            finally:
                self._count_streams(-1)

    def _count_streams(self, change: int) -> None:
        with self._lock:
            before, self._streams = self._streams, self._streams + change
            if self._connection is None or bool(before) == bool(self._streams):
                return
            with suppress(RedisError, OSError):  # then it is being made anew, which looks at the count
                self._connection.send_command("SUBSCRIBE" if self._streams else "UNSUBSCRIBE", keys.MOVES)

    def close(self) -> None:
        """Wake everybody, let nobody wait any more, and end the subscription."""
        with self._lock:
            self._closed.set()
            connection, thread = self._connection, self._thread
        self._wake_all()
        if connection is not None:
            # The thread that reads from it ends by this.
            connection.disconnect()
        if thread is not None:
            thread.join(CLOSE_S)

    def _run(self) -> None:
        while not self._closed.is_set():
            pool = self._client.connection_pool
            # One of its own, outside the pool: it is never given back.
            connection = pool.connection_class(**{**pool.connection_kwargs, "socket_timeout": SILENCE_S})
            try:
                self._subscribe(connection)
                self._listen(connection)
            except (RedisError, OSError) as error:
                if not self._closed.is_set():
                    log.warning("subscription lost", extra={"reason": repr(error)})
                self._closed.wait(PAUSE_S)
            finally:
                with self._lock:
                    self._connection = None
                connection.disconnect()

    def _subscribe(self, connection: "redis.Connection") -> None:
        connection.connect()
        with self._lock:
            connection.send_command("SUBSCRIBE", keys.DONE, *([keys.MOVES] if self._streams else []))
            self._connection = connection

    def _listen(self, connection: "redis.Connection") -> None:
        silent = False
        while not self._closed.is_set():
            try:
                answer = connection.read_response(disconnect_on_error=False)
            except TimeoutError:
                if silent:
                    raise
                silent = True
                with self._lock:
                    connection.send_command("PING")
                continue
            silent = False
            if answer[0] == b"message":
                self._wake(answer[2].decode())
            elif answer[0] == b"subscribe":
                # What ended before the subscription stood was not announced to it.
                self._wake_all()

    def _wake(self, id: str) -> None:
        # Without the lock first: most ids that go by are waited for elsewhere, or by nobody.
        if id in self._waiters:
            with self._lock:
                for waiter in self._waiters.get(id, ()):
                    waiter.wake()

    def _wake_all(self) -> None:
        with self._lock:
            for waiters in self._waiters.values():
                for waiter in waiters:
                    waiter.wake()
