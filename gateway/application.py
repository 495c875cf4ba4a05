"""Flask without what an API with keys never uses: sessions, subdomains, endless ways to make a response.

These are a third of Flask's own time for a request (measured), and this is the path that every job takes.
"""

from collections.abc import Callable, Iterable
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from flask import Flask, Request, Response
from flask.sessions import SessionInterface, SessionMixin
from werkzeug.routing import MapAdapter

from gateway.suspending import run

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class NoSession(dict[str, Any], SessionMixin):
    """What every request has for a session."""


class NoSessions(SessionInterface):
    _none = NoSession()

    def open_session(self, app: Flask, request: Request) -> NoSession:
        return self._none

    def is_null_session(self, obj: object) -> bool:
        return True


class Application(Flask):
    """Views may be coroutines, driven by `gateway.suspending`: in the request's thread, or on the event loop."""

    session_interface = NoSessions()

    def full_dispatch_request(self) -> Response:
        return run(self.respond())

    async def answer(self, environ: "WSGIEnvironment") -> Response:
        """The response to one request, whose context is this coroutine's own; never raises what a view raised."""
        with self.request_context(environ):
            try:
                return await self.respond()
            # As Flask's own `wsgi_app` does: whatever it is has an answer.
            except Exception as error:  # noqa: BLE001
                return self.handle_exception(error)

    async def respond(self) -> Response:
        try:
            answer: Any = self.preprocess_request()
            if answer is None:
                answer = self.dispatch_request()
                if isawaitable(answer):
                    answer = await answer
        # Flask's place for errors: ours turns each into a problem document.
        except Exception as error:  # noqa: BLE001
            answer = self.handle_user_exception(error)
        return self.finalize_request(answer)

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        return func

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Routes by the path alone: neither host nor scheme decides here, and no URL is built from a route."""
        if request is None:
            return None
        return MapAdapter(self.url_map, "localhost", "/", "", "http", request.path, request.method)


class Whole(Response):
    """A response whose body is there as a whole: one header list and one piece of bytes for the server.

    Werkzeug would copy and search the headers, and hand the body over as an iterator, which costs granian a call
    for each step.
    """

    def __init__(self, body: bytes, status: int, headers: dict[str, str], content_type: str) -> None:
        super().__init__([body], status, headers, content_type=content_type)
        #: What is sent.
        self.content = body

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] == "HEAD":
            return super().__call__(environ, start_response)
        start_response(self.status, [*self.headers, ("Content-Length", str(len(self.content)))])
        return [self.content]
