"""A real HTTP server that says what a test tells it to: for transport behaviour only, it is no gateway."""

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Reply:
    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Seen:
    """A request as it arrived."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.target).query).items()}

    def json(self) -> Any:
        return json.loads(self.body)


class Desk:
    """Gives its replies in order and the last one for ever; None hangs up instead."""

    def __init__(self) -> None:
        self.replies: deque[Reply | None] = deque()
        self.seen: list[Seen] = []
        self._arrival = Condition()
        desk = self

        class Handler(BaseHTTPRequestHandler):
            def handle_one_request(self) -> None:
                self.raw_requestline = self.rfile.readline()
                if self.raw_requestline and self.parse_request():
                    desk.handle(self)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def say(self, body: Any = None, status: int = 200, **headers: str) -> "Desk":
        """Line up a reply; bytes are sent as they are, anything else as JSON."""
        data = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
        self.replies.append(Reply(status, data, {name.replace("_", "-"): value for name, value in headers.items()}))
        return self

    def hang_up(self) -> "Desk":
        self.replies.append(None)
        return self

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in request.headers.items()}
        with self._arrival:
            self.seen.append(Seen(request.command, request.path, headers, body))
            self._arrival.notify_all()
        reply = self.replies.popleft() if len(self.replies) > 1 else self.replies[0]
        if reply is None:
            return
        head = f"HTTP/1.0 {reply.status} Canned\r\nContent-Length: {len(reply.body)}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in reply.headers.items())
        request.wfile.write(head.encode() + b"\r\n" + reply.body)

    def wait_for_requests(self, count: int) -> None:
        with self._arrival:
            assert self._arrival.wait_for(lambda: len(self.seen) >= count, timeout=30)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def job(status: str = "queued", **fields: Any) -> dict[str, Any]:
    """A job object as API.md shows it."""
    return {
        "id": "job_01J",
        "object": "job",
        "model": "echo",
        "version": "1",
        "status": status,
        "waiting_reason": "behind_others" if status == "queued" else None,
        "queue": {"position": 3, "eta_s": 1.5} if status == "queued" else None,
        "priority": "normal",
        "attempt": 0 if status == "queued" else 1,
        "worker_losses": 0,
        "progress": None,
        "created_at": "2026-01-01T00:00:00.000Z",
        "started_at": None if status == "queued" else "2026-01-01T00:00:00.003Z",
        "completed_at": "2026-01-01T00:00:00.010Z" if status == "succeeded" else None,
        "expires_at": None,
        "outputs": {"x": [1, 2]} if status == "succeeded" else None,
        "error": None,
        "metadata": {"order": "A-17"},
        "webhook_status": None,
        "metrics": {"queue_ms": 3, "compute_ms": 7, "batch_size": 4, "device": "cpu:0"},
        "urls": {"self": "/v1/jobs/job_01J"},
    } | fields


def problem(code: str, status: int, detail: str = "it is so", **fields: Any) -> dict[str, Any]:
    return {"code": code, "status": status, "title": "A title", "detail": detail, **fields}
