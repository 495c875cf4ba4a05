"""The gateway as a process of its own: real sockets, real streams, real signals."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import redis

from tests.gateway.gate import ECHO
from tests.gateway.test_waiting import until
from tests.services.ports import free_port
from tests.services.process import Child
from tests.services.valkey import Valkey

ROOT = Path(__file__).resolve().parents[2]
SERVE = """\
import os, sys
from errors import PenstockError
from gateway.serve import serve
from logs import configure
from settings import Settings
settings = Settings.from_env(os.environ)
configure(settings, "gateway")
try:
    serve(settings)
except PenstockError as error:
    sys.exit(error.detail)
"""
MB = 2**20
THREADS = 16


@dataclass
class Server:
    port: int
    child: Child
    log: Path

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)

    def request(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, bytes]:
        connection = self.connect()
        sent = None if body is None else json.dumps(body)
        connection.request(method, path, sent, {"Content-Type": "application/json"} | headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, content

    def submit(self) -> str:
        status, content = self.request("POST", "/v1/jobs", ECHO)
        assert status == 202
        return str(json.loads(content)["id"])

    def serving(self) -> psutil.Process:
        """The process that answers; its parent only watches it."""
        (child,) = psutil.Process(self.child.pid).children()
        return child


def environment(folder: Path, repository: Path, **settings: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PENSTOCK_", "COV_"))}
    own = {"PENSTOCK_DATA": str(folder), "PENSTOCK_MODELS": str(repository), "PYTHONPATH": str(ROOT)}
    return inherited | own | {f"PENSTOCK_{name.upper()}": value for name, value in settings.items()}


@pytest.fixture
def folder(tmp_path: Path, valkey: Valkey, store: "redis.Redis") -> Path:
    """A data folder with the store's socket in it."""
    (tmp_path / "valkey.sock").symlink_to(valkey.socket)
    return tmp_path


@pytest.fixture
def server(folder: Path, repository: Path) -> Iterator[Server]:
    port, log = free_port(), folder / "gateway.log"
    env = environment(folder, repository, port=str(port), gateway_threads=str(THREADS))
    env["HTTP_X_REQUEST_ID"] = "not-a-header"
    child = Child([sys.executable, "-c", SERVE], log=log, probe=lambda: live(port), env=env)
    child.spawn()
    child.wait_ready()
    yield Server(port, child, log)
    child.stop()


def live(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    connection.request("GET", "/livez")
    assert connection.getresponse().status == 200
    connection.close()


class Flood:
    """A body of zeros, sent until the server has had enough."""

    def __init__(self, server: Server, path: str, total: int, *, chunked: bool) -> None:
        self.sent = 0
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {total}"
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{length}\r\n\r\n"
        self.socket.sendall(head.encode())
        block = bytes(MB)
        piece = b"100000\r\n" + block + b"\r\n" if chunked else block
        try:
            while self.sent < total:
                self.socket.sendall(piece)
                self.sent += MB
            if chunked:
                self.socket.sendall(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass

    def status(self) -> int:
        line = self.socket.recv(4096)
        self.socket.close()
        return int(line.split(b" ")[1])


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs:batch"])
def test_gigabyte_is_refused_while_it_streams_and_memory_stays_flat(server: Server, path: str, chunked: bool) -> None:
    process = server.serving()
    before = process.memory_info().rss
    flood = Flood(server, path, 1024 * MB, chunked=chunked)
    assert flood.status() == 413
    # The limit is 32 MiB; the rest lay in socket buffers.
    assert flood.sent < 48 * MB
    assert process.memory_info().rss - before < 48 * MB
    assert server.request("GET", "/livez")[0] == 200


def test_large_upload_is_stored_in_flat_memory(server: Server, folder: Path) -> None:
    process = server.serving()
    server.request("POST", "/v1/objects", "warm up")
    before = process.memory_info().rss
    for chunked in (True, False):
        assert Flood(server, "/v1/objects", 128 * MB, chunked=chunked).status() == 201
    assert process.memory_info().rss - before < 16 * MB
    sizes = sorted(path.stat().st_size for path in (folder / "objects" / "local").rglob("obj_*"))
    assert sizes[-2:] == [128 * MB, 128 * MB]


def test_upload_cut_in_the_middle_leaves_nothing(server: Server, folder: Path) -> None:
    upload = socket.create_connection(("127.0.0.1", server.port))
    head = f"POST /v1/objects HTTP/1.1\r\nHost: localhost\r\nContent-Length: {64 * MB}\r\n\r\n"
    upload.sendall(head.encode() + bytes(4 * MB))
    unfinished = folder / "objects" / ".unfinished"
    until(lambda: unfinished.exists() and bool(list(unfinished.iterdir())))
    upload.close()
    until(lambda: not list(unfinished.iterdir()))
    assert list((folder / "objects").rglob("obj_*")) == []


def test_more_long_polls_than_threads_keep_nobody_from_submitting(server: Server) -> None:
    id = server.submit()
    with ThreadPoolExecutor(64) as pool:
        polls = [pool.submit(server.request, "GET", f"/v1/jobs/{id}?wait=3") for _ in range(64)]
        began = time.monotonic()
        for _ in range(20):
            server.submit()
        assert time.monotonic() - began < 2.5, "submits waited for the polls"
        assert {poll.result(20)[0] for poll in polls} == {200}


def test_idle_connections_keep_nobody_out(server: Server) -> None:
    idle = [server.connect() for _ in range(300)]
    for connection in idle:
        connection.request("GET", "/livez")
        assert connection.getresponse().read() == b'{"status":"ok"}'
    server.submit()
    for connection in idle:
        connection.close()


def test_sigterm_lets_go_of_long_polls_and_ends_with_0(server: Server) -> None:
    id = server.submit()
    with ThreadPoolExecutor(1) as pool:
        poll = pool.submit(server.request, "GET", f"/v1/jobs/{id}?wait=60")
        until(lambda: subscribers(server) == 1)
        began = time.monotonic()
        process = psutil.Process(server.child.pid)
        os.kill(server.child.pid, signal.SIGTERM)
        status, content = poll.result(10)
        assert (status, json.loads(content)["status"]) == (200, "queued")
        assert process.wait(10) in (0, None)
    assert time.monotonic() - began < 5
    assert "Traceback" not in server.log.read_text()


def subscribers(server: Server) -> int:
    """How many subscriptions the store has; the gateway makes its own with the first wait."""
    client = redis.Redis(unix_socket_path=str(server.log.parent / "valkey.sock"))
    ((_, count),) = client.pubsub_numsub("penstock:done")
    client.close()
    return int(count)


def test_variable_of_the_environment_is_no_header(server: Server) -> None:
    connection = server.connect()
    connection.request("GET", "/livez")
    assert connection.getresponse().headers["X-Request-Id"] != "not-a-header"
    connection.close()


def test_process_is_small(server: Server) -> None:
    server.submit()
    assert server.serving().memory_info().rss < 120 * MB
    assert psutil.Process(server.child.pid).memory_info().rss < 80 * MB


def test_refusal_to_start_is_one_sentence(folder: Path, repository: Path) -> None:
    env = environment(folder, repository, host="0.0.0.0", port=str(free_port()))
    run = subprocess.run([sys.executable, "-c", SERVE], env=env, capture_output=True, text=True, timeout=30)
    assert run.returncode == 1
    assert run.stderr.strip().splitlines()[-1].startswith("PENSTOCK_HOST is 0.0.0.0")
    assert "Traceback" not in run.stderr


def test_import_is_light() -> None:
    code = "import sys, gateway.app, gateway.serve; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"torch", "onnxruntime", "numpy", "minio", "celery", "sklearn", "PIL"} & set(run.stdout.split())


def test_missing_repository_is_named_and_the_gateway_ends(folder: Path) -> None:
    env = environment(folder, folder / "nothing", port=str(free_port()))
    run = subprocess.run([sys.executable, "-c", SERVE], env=env, capture_output=True, text=True, timeout=60)
    assert run.returncode != 0
    assert f"no model repository at {folder / 'nothing'}" in run.stderr
    assert "Traceback" not in run.stderr
