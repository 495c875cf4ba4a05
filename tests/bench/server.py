"""A gateway in a hundred lines: answers as Penstock and the plain app do, without a queue behind it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from threading import Thread
from typing import Any


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "Server"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append(f"POST {self.path}")
        value = json.loads(body)
        if self.path == "/v1/jobs:batch":
            jobs = [{"job": self.server.job(one["inputs"], "queued")} for one in value]
            self.answer(200, {"object": "list", "data": jobs})
        elif self.path == "/jobs":
            self.answer(202, {"id": self.server.job(value, "queued")["id"]})
        elif "Prefer" in self.headers:
            self.answer(200, self.server.job(value["inputs"], "succeeded"))
        else:
            self.answer(202, self.server.job(value["inputs"], "queued"))

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        id = path.rpartition("/")[2]
        self.server.seen.append(f"GET {query}")
        job = self.server.jobs[id]
        looks = self.server.looks[id] = self.server.looks.get(id, 0) + 1
        done = looks >= self.server.looks_needed
        if path.startswith("/v1/"):
            self.answer(200, {**job, "status": "succeeded"} if done else {**job, "status": "running", "outputs": None})
        else:
            result = job["outputs"]["y"] if done else None
            self.answer(200, {"id": id, "status": "SUCCESS" if done else "PENDING", "result": result})

    def answer(self, status: int, value: object) -> None:
        body = json.dumps(value, separators=(",", ":")).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Silent."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, *, looks_needed: int, wrong_by: float) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.looks_needed = looks_needed
        self.wrong_by = wrong_by
        self.jobs: dict[str, dict[str, Any]] = {}
        self.looks: dict[str, int] = {}
        self.seen: list[str] = []
        self._numbers = count(1)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Silent: a client that met a wrong answer hangs up on the others."""

    def job(self, inputs: dict[str, Any], status: str) -> dict[str, Any]:
        """An echo, wrong by as much as was asked for."""
        id = f"job_{next(self._numbers)}"
        y = [[number + self.wrong_by for number in row] for row in inputs["x"]]
        self.jobs[id] = {"id": id, "object": "job", "status": status, "outputs": {"y": y}}
        return self.jobs[id]


@contextmanager
def serving(*, looks_needed: int = 1, wrong_by: float = 0.0) -> Iterator[Server]:
    with Server(looks_needed=looks_needed, wrong_by=wrong_by) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
