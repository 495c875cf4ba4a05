"""Waiting for jobs to end: one Redis subscription a process, one thread that reads it, and no polling.

Whoever waits registers first and looks at the record second, so that an end in between is not missed. The thread
reads the records of all that ended at once and hands them over. When the subscription is lost it is made again,
and everybody looks at the record for themselves.

What this process accepted while subscribed, and has not heard the end of, has not ended: a client that submits
and then waits, as most do, is made to wait without looking.
"""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import redis
from redis.exceptions import RedisError, TimeoutError

from errors import StoreUnavailable
from gateway.suspending import Signal
from storage import keys
from storage.job import Job
from storage.jobs import JobStore

log = logging.getLogger(__name__)

#: Seconds without a message after which the subscription is tested with a ping.
SILENCE_S = 5.0
#: Seconds that the thread has to end.
CLOSE_S = 1.0
#: Between two looks whether it has ended.
LOOK_S = 0.05
#: Seconds between tries to subscribe again.
PAUSE_S = 0.25
#: Records read in one round trip.
GROUP = 64
#: Jobs remembered as not ended; the oldest are forgotten, and then looked at.
REMEMBERED = 50_000
#: Jobs that one who waits for many may wait for in place of another who waits for one.
GATHERED = 32
_DONE = keys.DONE.encode()


class Waiter:
    """Somebody who waits for one job."""

    __slots__ = ("_signal", "job")

    def __init__(self) -> None:
        self._signal: Signal[None] = Signal()
        #: The record as it was at the wake-up; None: look for yourself.
        self.job: Job | None = None

    async def within(self, seconds: float) -> bool:
        """True once woken: the job may have ended, or the waiting was cut short."""
        return await self._signal.within(seconds) and self._rearm()

    def wait(self, seconds: float) -> bool:
        """As `within`, for a thread."""
        if not self._signal.done:
            self._signal.within(seconds).block()
        return self._signal.done and self._rearm()

    def _rearm(self) -> bool:
        # Before `job` is read: a wake-up that comes in between has set it.
        self._signal = Signal()
        return True

    def wake(self, job: Job | None = None) -> None:
        self.job = job
        self._signal.set()


class Gatherer(Waiter):
    """Somebody who waits for any of many jobs."""

    __slots__ = ("_ended", "lost")

    def __init__(self) -> None:
        super().__init__()
        self._ended: list[Job] = []
        #: True once the waiting was cut short: look for yourself.
        self.lost = False

    def wake(self, job: Job | None = None) -> None:
        if job is None:
            self.lost = True
        else:
            self._ended.append(job)
        self._signal.set()

    def take(self) -> list[Job]:
        """The records that came since the last time."""
        taken, self._ended = self._ended, []
        return taken


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

    def __init__(self, client: "redis.Redis", jobs: JobStore, *, slots: int, streams: int) -> None:
        self._client = client
        self._jobs = jobs
        #: How many may wait at once.
        self._slots, self._taken = slots, 0
        #: How many of them may be streams: each holds a request thread, for minutes.
        self._most_streams = streams
        self._waiters: dict[str, set[Waiter]] = {}
        #: Jobs accepted here under the present subscription that have not ended, and whose they are.
        self._open: dict[str, str] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()
        #: Streams that want to know of every move; the subscription covers these only while there are some.
        self._streams = 0
        #: Set while subscribed.
        self._connection: redis.Connection | None = None

    @property
    def closed(self) -> bool:
        return self._closed.is_set()

    def expect(self, id: str, tenant: str) -> None:
        """Called before a job's record is made: its end will be heard."""
        with self._lock:
            self._start()
            if self._connection is not None:
                self._open[id] = tenant
                if len(self._open) > REMEMBERED:
                    del self._open[next(iter(self._open))]

    def expected(self, id: str, tenant: str) -> bool:
        """True for a tenant's job that surely has not ended, or whose end is being announced to whoever waits."""
        return self._open.get(id) == tenant

    def watch(self, id: str) -> Watch:
        """For `with`: a waiter for the job `id`; None where too many wait already or this process is ending."""
        return Watch(self, id)

    def enter(self, id: str) -> Waiter | None:
        with self._lock:
            if self._taken >= self._slots or self._closed.is_set():
                return None
            self._taken += 1
            waiter = Waiter()
            self._waiters.setdefault(id, set()).add(waiter)
            self._start()
        return waiter

    def leave(self, id: str, waiter: Waiter) -> None:
        with self._lock:
            self._taken -= 1
            others = self._waiters[id]
            others.discard(waiter)
            if not others:
                del self._waiters[id]

    @contextmanager
    def watch_any(self, ids: Sequence[str]) -> Iterator[Gatherer | None]:
        """Like `watch`, for many jobs."""
        gatherer, slots = Gatherer(), 1 + len(ids) // GATHERED
        with self._lock:
            if taken := self._taken + slots <= self._slots and not self._closed.is_set():
                self._taken += slots
                for id in ids:
                    self._waiters.setdefault(id, set()).add(gatherer)
                self._start()
        try:
            yield gatherer if taken else None
        finally:
            if taken:
                self._forget(ids, gatherer, slots)

    def _forget(self, ids: Sequence[str], gatherer: Gatherer, slots: int) -> None:
        with self._lock:
            self._taken -= slots
            for id in ids:
                others = self._waiters[id]
                others.discard(gatherer)
                if not others:
                    del self._waiters[id]

    @contextmanager
    def follow(self, id: str) -> Iterator[Waiter | None]:
        """Like `watch`, but the waiter is woken by every change of the job's state, not only the last."""
        if self._streams >= self._most_streams:
            yield None
            return
        with self.watch(id) as waiter:
            if waiter is None:
                yield None
                return
            self._count_streams(1)
            try:
                yield waiter
            finally:
                self._count_streams(-1)

    def close(self) -> None:
        """Wake everybody, let nobody wait any more, and end the subscription."""
        with self._lock:
            self._closed.set()
            connection, thread = self._connection, self._thread
        self._wake_all()
        deadline = time.monotonic() + CLOSE_S
        while thread is not None and thread.is_alive() and time.monotonic() < deadline:
            if connection is not None:
                # The thread that reads from it ends by this; asked just then whether there is something to read, the
                # connection makes itself anew.
                connection.disconnect()
            thread.join(LOOK_S)

    def _count_streams(self, change: int) -> None:
        with self._lock:
            before, self._streams = self._streams, self._streams + change
            if self._connection is None or bool(before) == bool(self._streams):
                return
            with suppress(RedisError, OSError):  # then it is being made anew, which looks at the count
                self._connection.send_command("SUBSCRIBE" if self._streams else "UNSUBSCRIBE", keys.MOVES)

    def _start(self) -> None:
        if self._thread is None and not self._closed.is_set():
            self._thread = threading.Thread(target=self._run, name="waiting", daemon=True)
            self._thread.start()

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
                    self._open.clear()
                connection.disconnect()

    def _subscribe(self, connection: "redis.Connection") -> None:
        connection.connect()
        # A store that reads its log after a restart takes subscriptions, but answers no reads: whoever is woken now
        # would look, and be told that it is away. This raises until it answers.
        connection.send_command("EXISTS", keys.COUNTERS)
        connection.read_response()
        connection.send_command("SUBSCRIBE", keys.DONE)
        connection.read_response()
        with self._lock:
            self._connection = connection
            if self._streams:
                connection.send_command("SUBSCRIBE", keys.MOVES)
        # What ended before the subscription stood was not announced to it.
        self._wake_all()

    def _listen(self, connection: "redis.Connection") -> None:
        silent = False
        while not self._closed.is_set():
            try:
                ended = self._hear(connection)
            except TimeoutError:
                if silent:
                    raise
                silent = True
                with self._lock:
                    connection.send_command("PING")
                continue
            silent = False
            if ended:
                self._tell(ended)

    def _hear(self, connection: "redis.Connection") -> list[str]:
        """Ids from the messages that are there, at least one message, that somebody here waits for."""
        heard: list[str] = []
        while True:
            answer = connection.read_response(disconnect_on_error=False)
            if answer[0] == b"message":
                # One message tells of all the jobs of a batch.
                for id in answer[2].decode().split():
                    # Without the lock first: most ids that go by are waited for elsewhere, or by nobody.
                    if answer[1] == _DONE:
                        self._open.pop(id, None)
                    if id in self._waiters:
                        heard.append(id)
            if len(heard) >= GROUP or not connection.can_read(0):
                return heard

    def _tell(self, ids: Sequence[str]) -> None:
        """Hand the records over to those who wait."""
        try:
            jobs = self._jobs.get_all(ids)
        except StoreUnavailable:
            jobs = [None] * len(ids)
        with self._lock:
            for id, job in zip(ids, jobs, strict=True):
                for waiter in self._waiters.get(id, ()):
                    waiter.wake(job)

    def _wake_all(self) -> None:
        with self._lock:
            for waiters in self._waiters.values():
                for waiter in waiters:
                    waiter.wake()
