"""Clients that take their time: headers and bodies that hardly come, on real sockets."""

import json
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.gate import ECHO
from tests.gateway.test_serving import SERVE, environment, live
from tests.services.ports import free_port
from tests.services.process import Child
from tests.services.valkey import Valkey

#: Seconds that a body may take here.
PATIENCE_S = 0.5


@pytest.fixture
def port(tmp_path: Path, valkey: Valkey, store: Any, repository: Path) -> Iterator[int]:
    (tmp_path / "valkey.sock").symlink_to(valkey.socket)
    number = free_port()
    env = environment(tmp_path, repository, port=str(number), gateway_threads="4", body_timeout_s=str(PATIENCE_S))
    child = Child([sys.executable, "-c", SERVE], log=tmp_path / "gateway.log", probe=lambda: live(number), env=env)
    child.spawn()
    child.wait_ready()
    yield number
    child.stop()


def opened(port: int, *lines: str, body: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    connection.sendall("\r\n".join([*lines, "Host: localhost", "", ""]).encode() + body)
    return connection


def answer(connection: socket.socket) -> tuple[int, dict[str, Any]]:
    """The status and the problem; the connection has to end with it."""
    text = b""
    while chunk := connection.recv(65536):
        text += chunk
    connection.close()
    head, _, body = text.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), json.loads(body) if body else {}


@pytest.mark.parametrize(
    "request_line", ["POST /v1/jobs HTTP/1.1", "POST /v1/jobs:batch HTTP/1.1", "POST /v1/objects HTTP/1.1"]
)
@pytest.mark.parametrize("length", ["Content-Length: 1000", "Content-Length: 1000000", "Transfer-Encoding: chunked"])
def test_body_that_does_not_come_is_408(port: int, request_line: str, length: str) -> None:
    begin = b'3e8\r\n{"mod' if "chunked" in length else b'{"mod'
    status, problem = answer(opened(port, request_line, "Content-Type: application/json", length, body=begin))
    assert (status, problem["code"]) == (408, "request_timeout")


def test_body_that_breaks_off_is_no_fault_of_the_gateway(port: int, tmp_path: Path) -> None:
    for length in (1000, 1_000_000):
        connection = opened(
            port, "POST /v1/jobs HTTP/1.1", "Content-Type: application/json", f"Content-Length: {length}", body=b'{"mod'
        )
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(65536).split(b" ")[1:2] in ([], [b"400"])
        connection.close()
    assert "Traceback" not in (tmp_path / "gateway.log").read_text()


def test_slow_clients_do_not_keep_others_out(port: int) -> None:
    slow = [
        opened(port, "POST /v1/objects HTTP/1.1", "Content-Type: application/octet-stream", "Content-Length: 1000000")
        for _ in range(16)
    ]
    body = json.dumps(ECHO).encode()
    kind, length = "Content-Type: application/json", f"Content-Length: {len(body)}"
    good = opened(port, "POST /v1/jobs HTTP/1.1", kind, length, "Connection: close", body=body)
    assert answer(good)[0] == 202
    # Four threads, sixteen idle uploads: each is let go after its time.
    batch = opened(port, "GET /v1/models HTTP/1.1", "Connection: close")
    assert answer(batch)[0] == 200
    assert {answer(connection)[0] for connection in slow} == {408}


def test_large_body_has_time_as_long_as_it_comes(port: int) -> None:
    """Longer than an idle one would be given, at more than the least rate."""
    connection = opened(
        port, "POST /v1/objects HTTP/1.1", "Content-Type: application/octet-stream", "Content-Length: 400000",
        "Connection: close",
    )  # fmt: skip
    began = time.monotonic()
    for _ in range(8):
        connection.sendall(b"x" * 50_000)
        # Beyond its patience in all, and each pause within it.
        time.sleep(PATIENCE_S / 4)
    status, stored = answer(connection)
    assert time.monotonic() - began > PATIENCE_S
    assert (status, stored["bytes"]) == (201, 400_000)


@pytest.mark.parametrize(
    ("lines", "status", "code"),
    [
        ([f"X-Number-{number}: a" for number in range(70)], 431, "headers_too_large"),
        (["X-Long: " + "a" * 40_000], 431, "headers_too_large"),
    ],
)
def test_headers_beyond_the_limits_are_431(port: int, lines: list[str], status: int, code: str) -> None:
    got, problem = answer(opened(port, "GET /v1/jobs HTTP/1.1", *lines))
    assert (got, problem["code"]) == (status, code)
    if "X-Long" in lines[0]:
        assert "'x-long'" in problem["detail"]


def test_endless_address_is_414(port: int) -> None:
    got, problem = answer(opened(port, f"GET /v1/jobs?{'a' * 20_000} HTTP/1.1", "Connection: close"))
    assert (got, problem["code"]) == (414, "uri_too_long")
