"""Requests that wait: written as coroutines, run on the event loop without a thread, or in a thread that blocks.

A view that has to wait awaits one of two things: a `Signal`, which some thread of this process sets (the broker
confirmed, the job ended), or `blocking(step)`, a step that talks to a server and takes its time. On the event loop
neither holds it up; in a thread (large bodies, tests) the very same coroutine simply blocks. Both are driven here
rather than by asyncio, whose tasks and futures belong to one loop and cost several times as much.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Executor
from typing import Any, Generic, Protocol, TypeVar

T = TypeVar("T")


class Wish(Protocol):
    """What a coroutine yields to whoever drives it."""

    def block(self) -> None: ...
    async def on_loop(self, loop: "Loop") -> None: ...


class Signal(Generic[T]):
    """Set once, by any thread; awaited by one request at a time."""

    __slots__ = ("_guard", "_told", "done", "value")

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._told: Callable[[], None] | None = None
        self.done = False
        self.value: T | None = None

    def set(self, value: T | None = None) -> None:
        with self._guard:
            if self.done:
                return
            self.value, self.done = value, True
            told = self._told
        if told is not None:
            told()

    def tell(self, told: Callable[[], None] | None) -> None:
        """Call `told` once the signal is set, at once if it is; None: nobody any more."""
        with self._guard:
            self._told = told
            at_once = self.done
        if at_once and told is not None:
            told()

    def within(self, seconds: float) -> "Within[T]":
        """To be awaited: True once set, False when so many seconds have passed first."""
        return Within(self, seconds)


class Within(Generic[T]):
    """A signal and the patience for it."""

    __slots__ = ("_seconds", "_signal")

    def __init__(self, signal: Signal[T], seconds: float) -> None:
        self._signal, self._seconds = signal, max(0.0, seconds)

    def __await__(self) -> Generator["Wish", None, bool]:
        if not self._signal.done:
            yield self
        return self._signal.done

    def block(self) -> None:
        waiting = threading.Lock()
        waiting.acquire()
        self._signal.tell(waiting.release)
        waiting.acquire(timeout=self._seconds)
        self._signal.tell(None)

    async def on_loop(self, loop: "Loop") -> None:
        future = loop.future()
        timer = loop.later(self._seconds, future)
        self._signal.tell(lambda: loop.post(future))
        try:
            await future
        finally:
            timer.cancel()
            self._signal.tell(None)


class Step(Generic[T]):
    """A call that blocks."""

    __slots__ = ("_error", "_step", "_value")

    def __init__(self, step: Callable[[], T]) -> None:
        self._step = step
        self._value: T | None = None
        self._error: BaseException | None = None

    def __await__(self) -> Generator["Wish", None, T]:
        yield self
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # set by then

    def block(self) -> None:
        try:
            self._value = self._step()
        # Raised again where it is awaited.
        except BaseException as error:  # noqa: BLE001
            self._error = error

    async def on_loop(self, loop: "Loop") -> None:
        await loop.in_thread(self.block)


def blocking(step: Callable[[], T]) -> Step[T]:
    """To be awaited: what `step` returns or raises; in a thread of its own where the event loop must go on."""
    return Step(step)


class Loop:
    """The event loop that requests wait on, as the things they wait for see it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, threads: Executor) -> None:
        self._loop = loop
        self._threads = threads
        self._ready: deque[asyncio.Future[None]] = deque()
        #: The loop was told that something is ready, and has not looked yet.
        self._told = False
        self._guard = threading.Lock()

    def future(self) -> "asyncio.Future[None]":
        return self._loop.create_future()

    def later(self, seconds: float, future: "asyncio.Future[None]") -> asyncio.TimerHandle:
        return self._loop.call_later(seconds, finish, future)

    def post(self, future: "asyncio.Future[None]") -> None:
        """From any thread: end the future's wait. Those who come while the loop is being woken ride along."""
        self._ready.append(future)
        with self._guard:
            if self._told:
                return
            self._told = True
        self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        with self._guard:
            self._told = False
        while self._ready:
            finish(self._ready.popleft())

    async def in_thread(self, step: Callable[[], None]) -> None:
        await self._loop.run_in_executor(self._threads, step)


def finish(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def run(request: Coroutine[Wish, None, T]) -> T:
    """Drive a request to its end in this thread."""
    while True:
        try:
            wish = request.send(None)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        wish.block()


async def run_on(loop: Loop, request: Coroutine[Wish, None, T]) -> T:
    """Drive a request to its end on the event loop."""
    while True:
        try:
            wish = request.send(None)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        try:
            await wish.on_loop(loop)
        except BaseException:
            # Canceled from outside: the request's own `finally`s run now.
            request.close()
            raise


Request = Coroutine[Any, None, T]
