"""What granian calls for each request: quick ones run on its event loop, all others in a thread.

A long poll thereby holds no thread, and the requests that make up the load, a submission and the wait for its end,
are handled by one thread that never gives up Python's lock between two of them (measured with 64 clients that
submit and long-poll: the gateway's CPU time for a job is less than half of what a thread for each request cost).
"""

import asyncio
import re
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from io import BytesIO
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar, cast

from flask import Response
from granian.rsgi import ProtocolClosed  # type: ignore[attr-defined]

from errors import BadRequest, MalformedBody, RequestTimeout
from gateway import problems
from gateway.application import Application, Whole
from gateway.asked import Asked, Reply
from gateway.browsers import ALWAYS
from gateway.environ import Scope as Asking
from gateway.environ import environ_of, fault
from gateway.parts import Parts
from gateway.routes import Route
from gateway.suspending import Loop, blocking, run, run_on
from storage.access import Grant, Scope

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

#: Bytes of body that a quick request may have: reading more would hold up the others.
QUICK_BODY = 64 * 1024
#: Bytes of a body that give it a second more: whoever holds one back holds up a thread.
BODY_RATE = 16 * 1024

T = TypeVar("T")


class Transport(Protocol):
    async def send_bytes(self, data: bytes) -> None: ...


class Exchange(Protocol):
    """One request's body and its answer; RSGI calls it the protocol."""

    async def __call__(self) -> bytes: ...
    def __aiter__(self) -> AsyncIterator[bytes]: ...
    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None: ...
    def response_stream(self, status: int, headers: list[tuple[str, str]]) -> Transport: ...


class Answer(NamedTuple):
    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Front:
    """The RSGI application around the Flask application."""

    def __init__(self, app: Application, routes: Sequence[Route], *, threads: int, at_end: Callable[[], None]) -> None:
        self._app = app
        self._parts: Parts = app.extensions["penstock"]
        self._at_end = at_end
        self._body_s = self._parts.settings.body_timeout_s
        self._usual_bytes = self._parts.settings.max_body_bytes
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="request")
        self._quick = [(route.method, pattern(route.path), route) for route in routes if route.quick]
        self._event_loop: asyncio.AbstractEventLoop | None = None
        self._loop: Loop | None = None

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._event_loop = loop
        self._loop = Loop(loop, self._threads)
        # Granian has added its own handlers to the event loop, which has no hook for ours; Python's are run as well.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)

    def _end(self, number: int, frame: FrameType | None) -> None:
        """As soon as this process is told to end, nobody should wait; in a thread, as a handler may take no lock."""
        threading.Thread(target=self._at_end, name="shutdown", daemon=True).start()

    async def __rsgi__(self, scope: Asking, exchange: Exchange) -> None:
        if self._loop is None or self._event_loop is None:
            raise RuntimeError("granian did not call __rsgi_init__")
        headers = scope.headers.items()
        environ = environ_of(scope, headers)
        if error := fault(scope, headers):
            self.refuse(exchange, environ, error)
            return
        found = self.quick(environ)
        if found is not None:
            route, variables = found
            asked = Asked(environ)
            if route.method == "POST":
                try:
                    environ["wsgi.input"] = BytesIO(await in_time(exchange(), self._event_loop, self._body_s))
                except BadRequest as error:
                    self.refuse(exchange, environ, error, route.path)
                    return
            send(exchange, await run_on(self._loop, self.reply(route, variables, asked)), asked.id)
            return
        environ["wsgi.input"] = Body(exchange, self._event_loop, patience_s=self._body_s)
        answer = await self._event_loop.run_in_executor(self._threads, self.in_thread, environ, exchange)
        if answer is not None:
            exchange.response_bytes(answer.status, answer.headers, answer.body)

    def refuse(self, exchange: Exchange, environ: "WSGIEnvironment", error: BadRequest, path: str = "none") -> None:
        """Answer a request that goes no further."""
        asked, method = Asked(environ), environ["REQUEST_METHOD"]
        reply = problems.reply(error, id=asked.id, method=method, path=environ["PATH_INFO"])
        self._parts.tally.add(method if path != "none" else "other", path, reply.status, 0.0)
        send(exchange, reply, asked.id)

    def quick(self, environ: "WSGIEnvironment") -> tuple[Route, dict[str, str]] | None:
        """The route of a request that may be handled on the event loop, and its path's variables."""
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        for wanted, pattern, route in self._quick:
            if wanted == method and (match := pattern.fullmatch(path)):
                return (route, match.groupdict()) if self.small(environ, route) else None
        return None

    def small(self, environ: "WSGIEnvironment", route: Route) -> bool:
        """Whether nothing about the request takes long: neither its body nor finding out who asks."""
        if route.method == "POST":
            length = environ.get("CONTENT_LENGTH", "")
            if not (length.isdigit() and len(length) <= 6 and int(length) <= QUICK_BODY):
                return False
            if not environ.get("CONTENT_TYPE", "").startswith("application/json"):
                return False
        # An API key that is not remembered is asked of the store.
        return route.public or self._parts.authentication.remembers(environ)

    async def reply(self, route: Route, variables: dict[str, str], asked: Asked) -> Reply:
        environ = asked.environ
        try:
            if (scope := route.scope) is not None:
                asked.tenant = (await self.grant(environ, scope)).tenant
                if self._parts.toll.of(asked.tenant).rated:
                    await self._parts.toll.enter(asked.tenant, environ, most=route.largest(self._usual_bytes))
            reply: Reply = await route.view(asked, **variables)
        # Whatever it is has an answer.
        except Exception as error:  # noqa: BLE001
            reply = problems.reply(error, id=asked.id, method=route.method, path=environ["PATH_INFO"])
        self._parts.tally.add(route.method, route.path, reply.status, time.perf_counter() - asked.began)
        return reply

    async def grant(self, environ: "WSGIEnvironment", scope: Scope) -> Grant:
        """What the asking key may do; raises as `allowed` does."""
        authentication = self._parts.authentication
        if authentication.remembers(environ):
            return authentication.allowed(environ, scope)
        # It was remembered when the request began, and its body has taken a while.
        return await blocking(lambda: authentication.allowed(environ, scope))

    def in_thread(self, environ: "WSGIEnvironment", exchange: Exchange) -> Answer | None:
        """Handle a request in this thread; an answer that is large or has no end is sent from here."""
        response = run(self._app.answer(environ))
        if isinstance(response, Whole) or not response.is_streamed:
            return whole(response, environ)
        headers = response.get_wsgi_headers(environ).to_wsgi_list()
        try:
            transport = self.on_loop(opened(exchange, response.status_code, headers))
            for chunk in response.get_app_iter(environ):
                self.on_loop(sent(transport, chunk))
        except ProtocolClosed:
            # The client has gone: nobody is left to be told.
            return None
        finally:
            response.close()
        return None

    def on_loop(self, step: Coroutine[Any, Any, T]) -> T:
        return on_loop(self._event_loop, step)


async def in_time(body: Any, loop: asyncio.AbstractEventLoop, patience_s: float) -> bytes:
    """A small body, once it is there; `body`: granian's future. Raises RequestTimeout, MalformedBody."""
    timer = loop.call_later(patience_s, body.cancel)
    try:
        return cast(bytes, await body)
    except asyncio.CancelledError as error:
        if not body.cancelled():
            raise
        raise too_slow(patience_s) from error
    except ProtocolClosed as error:
        raise MalformedBody("the client broke off before all of the body was there") from error
    finally:
        timer.cancel()


def too_slow(seconds: float) -> RequestTimeout:
    return RequestTimeout(f"the body was not there after {seconds:.1f} s; send at least {BODY_RATE} bytes a second")


class Body:
    """A request's body as a file, read by a thread while it arrives; RequestTimeout for one that hardly does."""

    def __init__(self, exchange: Exchange, loop: asyncio.AbstractEventLoop, *, patience_s: float = 30.0) -> None:
        self._exchange = exchange
        self._patience_s = patience_s
        self._loop = loop
        self._chunks: AsyncIterator[bytes] | None = None
        self._held = bytearray()
        self._ended = False
        self._began = time.monotonic()
        #: Bytes that have come.
        self.taken = 0

    def read(self, size: int = -1) -> bytes:
        """`size` bytes, fewer at the end or where the client broke off; all of them without `size`."""
        while not self._ended and (size < 0 or len(self._held) < size):
            # Waits longer the more has come, so that a large upload has its time and an idle one has none.
            until = self._began + self._patience_s + self.taken / BODY_RATE
            chunk = on_loop(self._loop, self._next(), until=until)
            if chunk is None:
                self._ended = True
            else:
                self.taken += len(chunk)
                self._held += chunk
        wanted = len(self._held) if size < 0 else size
        taken = bytes(self._held[:wanted])
        del self._held[:wanted]
        return taken

    async def _next(self) -> bytes | None:
        if self._chunks is None:
            self._chunks = aiter(self._exchange)
        try:
            return await anext(self._chunks)
        except StopAsyncIteration:
            return None


def on_loop(loop: asyncio.AbstractEventLoop | None, step: Coroutine[Any, Any, T], *, until: float | None = None) -> T:
    """From a thread: have the event loop take a step, and wait for what becomes of it.

    Raises RequestTimeout where that is not there by the monotonic time `until`.
    """
    if loop is None:
        raise RuntimeError("there is no event loop yet")
    taken = asyncio.run_coroutine_threadsafe(step, loop)
    if until is None:
        return taken.result()
    left_s = max(0.0, until - time.monotonic())
    try:
        return taken.result(left_s)
    except FutureTimeout as error:
        taken.cancel()
        raise too_slow(left_s) from error


async def opened(exchange: Exchange, status: int, headers: list[tuple[str, str]]) -> Transport:
    return exchange.response_stream(status, headers)


async def sent(transport: Transport, chunk: bytes) -> None:
    await transport.send_bytes(chunk)


def send(exchange: Exchange, reply: Reply, id: str) -> None:
    headers = [*ALWAYS, *reply.headers.items(), ("X-Request-Id", id)]
    if reply.content_type:
        headers.append(("Content-Type", reply.content_type))
    exchange.response_bytes(reply.status, headers, reply.body)


def whole(response: Response, environ: "WSGIEnvironment") -> Answer:
    """An answer that is there as a whole."""
    if isinstance(response, Whole):
        return Answer(response.status_code, list(response.headers), response.content)
    headers = response.get_wsgi_headers(environ).to_wsgi_list()
    try:
        return Answer(response.status_code, headers, b"".join(response.get_app_iter(environ)))
    finally:
        response.close()


def pattern(path: str) -> re.Pattern[str]:
    """A route's path as a regular expression: `<name>` is one segment, and a group of that name."""
    return re.compile(re.sub(r"<([a-z]+)>", r"(?P<\1>[^/]+)", re.escape(path)))
