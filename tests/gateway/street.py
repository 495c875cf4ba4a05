"""A gate with an address: the real client reaches it over HTTP, and a test may stand in the way."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from threading import Thread
from typing import TYPE_CHECKING, Any

from werkzeug.serving import WSGIRequestHandler, make_server

from tests.gateway.gate import Gate

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:
        pass


@dataclass
class Street:
    gate: Gate
    #: Method and path of each request, oldest first.
    seen: list[str] = field(default_factory=list)
    #: Asked of each request; True: it is handled, and its answer lost on the way back.
    breaks: Callable[[str], bool] = lambda _: False
    url: str = ""

    def __post_init__(self) -> None:
        self._server = make_server("127.0.0.1", 0, self.app, threaded=True, request_handler=Quiet)
        self.url = f"http://127.0.0.1:{self._server.port}"
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def app(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        query = f"?{environ['QUERY_STRING']}" if environ["QUERY_STRING"] else ""
        request = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}{query}"
        self.seen.append(request)
        if not self.breaks(request):
            return self.gate.app(environ, start_response)
        b"".join(self.gate.app(environ, lambda *_: lambda _: None))
        start_response("502 Bad Gateway", [("Content-Length", "0")])
        return []

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
