"""Flask without what an API with keys never uses: sessions, subdomains, endless ways to make a response.

These are a third of Flask's own time for a request (measured), and this is the path that every job takes.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from flask import Flask, Request, Response
from flask.sessions import SessionInterface, SessionMixin
from werkzeug.routing import MapAdapter

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
    session_interface = NoSessions()

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
        self._body = body

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] == "HEAD":
            return super().__call__(environ, start_response)
        start_response(self.status, [*self.headers, ("Content-Length", str(len(self._body)))])
        return [self._body]
