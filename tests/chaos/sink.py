"""A receiver of webhooks that notes everything, checks each signature, and now and then has a bad moment."""

import json
import random
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook

from tests.chaos.history import Delivery
from tests.chaos.reference import canonical
from tests.services.ports import free_port

#: Share of deliveries whose first sending is answered with 500.
REFUSED = 0.02


class Sink:
    """Listens on loopback; `secret` is asked for when the first webhook comes."""

    def __init__(self, seed: int) -> None:
        self.port = free_port()
        self.secret = ""
        self.deliveries: list[Delivery] = []
        self._draw = random.Random(f"sink {seed}")
        self._seen: set[str] = set()
        self._guard = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="sink", daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def take(self, headers: dict[str, str], body: bytes) -> int:
        """Note one webhook; the status to answer with."""
        event = json.loads(body)
        with self._guard:
            first = headers["webhook-id"] not in self._seen
            self._seen.add(headers["webhook-id"])
            if first and self._draw.random() < REFUSED:
                return 500
            self.deliveries.append(delivery(event, headers, signed=self._signed(headers, body)))
        return 204

    def _signed(self, headers: dict[str, str], body: bytes) -> bool:
        """Whatever the sender takes for the time, which a fault may shift: the library's `verify` looks at it too."""
        sent = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
        expected = Webhook(self.secret).sign(headers["webhook-id"], sent, body.decode())
        return expected in headers["webhook-signature"].split()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = sink.take({name.lower(): value for name, value in self.headers.items()}, body)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Nobody reads it."""

        return Handler


def delivery(event: dict[str, Any], headers: dict[str, str], *, signed: bool) -> Delivery:
    job = event["data"]
    return Delivery(
        at=time.monotonic(),
        id=headers["webhook-id"],
        type=event["type"],
        job=job["id"],
        state=job["status"],
        completed_at=job["completed_at"] or "",
        outputs=canonical(job["outputs"]) if job.get("outputs") is not None else "",
        code=(job.get("error") or {}).get("code", ""),
        signed=signed,
    )
