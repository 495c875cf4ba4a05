"""The load generator against a server that answers by itself."""

import socket
from collections import Counter
from threading import Thread
from typing import Any

import pytest

from bench.clients import Client, Clients, LoadError, Session, Target
from bench.load import measure
from tests.bench.server import Server, serving

ROWS = [[float(number)] * 16 for number in range(4)]
WORKLOAD: dict[str, Any] = {
    "name": "echo",
    "output": "y",
    "tolerance": 0.0,
    "per_body": 5,
    "bodies": 6,
    "inputs": [{"x": [row]} for row in ROWS],
    "expected": ROWS,
}


def measured(server: Server, mode: str, *, clients: int = 3) -> dict[str, float]:
    return measure(mode, WORKLOAD, server.url, key="k", clients=clients, ramp_s=0.0, seconds=0.3)


@pytest.mark.parametrize("mode", ["wait", "poll", "plain"])
def test_every_mode_counts_the_jobs_that_it_finished(mode: str) -> None:
    with serving() as server:
        seen = measured(server, mode)
        posted = sum(one.startswith("POST") for one in server.seen)
    assert seen["all_jobs"] == posted > 0
    assert 0 < seen["jobs_per_s"] * 0.3 <= posted
    assert 0 < seen["p50_ms"] <= seen["p99_ms"]
    assert seen["load_cpu_s"] > 0


@pytest.mark.parametrize("mode", ["poll", "plain"])
def test_a_job_is_looked_at_until_it_is_done(mode: str) -> None:
    with serving(looks_needed=3) as server:
        seen = measured(server, mode)
    assert seen["looks_per_job"] == 3
    assert set(server.looks.values()) == {3}


def test_burst_is_sent_once_however_many_clients_share_it() -> None:
    with serving() as server:
        seen = measured(server, "batch", clients=4)
    kinds = Counter(one.split()[0] for one in server.seen)
    # Six bodies of five jobs, and the last job of each is looked at.
    assert (seen["all_jobs"], kinds["POST"], kinds["GET"]) == (30, 6, 6)
    assert seen["accepted_per_s"] >= seen["jobs_per_s"] > 0


@pytest.mark.parametrize("mode", ["wait", "poll", "batch", "plain"])
def test_wrong_answer_is_an_error(mode: str) -> None:
    with serving(wrong_by=0.5) as server, pytest.raises(LoadError, match=r"wrong by 0\.5"):
        measured(server, mode)


def test_refusal_is_an_error_that_quotes_the_server() -> None:
    def session(target: Target) -> Session:
        from bench.answers import demand

        demand((yield target.get(b"/v1/jobs/none")), 202, b"")

    with serving() as server:
        server.jobs["none"] = {"id": "none", "outputs": {"y": []}}
        target = Target(server.url, "k")
        with pytest.raises(LoadError, match=r'200 \{"id":"none"'):
            Clients(target.address, [session(target)]).run(1)


def test_request_that_the_socket_takes_in_parts_arrives_whole() -> None:
    size = 8 * 2**20
    with serving() as server:
        target = Target(server.url, "k")
        request = target.post(
            "/v1/jobs", b'{"inputs":{"x":[[1]]},"padding":"' + b"p" * size + b'"}', "Prefer: wait\r\n"
        )
        bodies = []

        def session() -> Session:
            bodies.append((yield request).body)
            bodies.append((yield request).body)

        Clients(target.address, [session()]).run(10)
    assert [b'"outputs":{"y":[[1.0]]}' in body for body in bodies] == [True, True]


def test_answer_that_arrives_byte_by_byte_is_read_whole() -> None:
    answer = b"HTTP/1.1 200 OK\r\nX-A: b\r\ncontent-length: 5\r\nX-C: d\r\n\r\nhello"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = Client(listener.getsockname(), idle())
        peer, _ = listener.accept()
        with peer:
            found = []
            client.socket.setblocking(True)
            for byte in answer:
                peer.sendall(bytes([byte]))
                found.append(client.answer())
        client.close()
    assert found[:-1] == [None] * (len(answer) - 1)
    assert found[-1] == (200, b"hello")


def test_server_that_hangs_up_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            peer, _ = listener.accept()
            peer.recv(1)
            peer.shutdown(socket.SHUT_RDWR)
            peer.close()

        thread = Thread(target=hang_up)
        thread.start()
        target = Target(f"http://127.0.0.1:{listener.getsockname()[1]}", "k")
        clients = Clients(target.address, [one(target.get(b"/"))])
        with pytest.raises((LoadError, ConnectionError)):
            clients.run(5)
        thread.join()


def idle() -> Session:
    yield 0.0


def one(request: bytes) -> Session:
    yield request
