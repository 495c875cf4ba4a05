"""The proxy breaks a network as it is told, and else passes every byte on."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from struct import pack

import pytest

from tests.chaos.amqp_stream import Frames, is_ack
from tests.chaos.proxy import Link, Proxies, Way

#: Until a byte that should come must have come; what should not come is waited for shortly.
SOON_S, NOT_S = 5.0, 0.2
NAME = "process/server"


class Echo:
    """A server that sends back what it gets."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(65536):
                    connection.sendall(data)
            except OSError:
                pass

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    with closing(Echo()) as server:
        yield server


def linked(port: int, *, amqp: bool = False) -> Iterator[Proxies]:
    proxies = Proxies(Link(NAME, port, amqp=amqp))
    proxies.start()
    yield proxies
    proxies.close()


@pytest.fixture
def proxies(echo: Echo) -> Iterator[Proxies]:
    yield from linked(echo.port)


@pytest.fixture
def amqp(echo: Echo) -> Iterator[Proxies]:
    yield from linked(echo.port, amqp=True)


def client(proxies: Proxies) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxies.links[NAME].port), timeout=SOON_S)


def received(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (more := connection.recv(count - len(data))):
        data += more
    return data


def silent(connection: socket.socket) -> bool:
    connection.settimeout(NOT_S)
    try:
        connection.recv(1)
    except TimeoutError:
        return True
    finally:
        connection.settimeout(SOON_S)
    return False


def frame(kind: int, payload: bytes) -> bytes:
    return pack(">BHI", kind, 1, len(payload)) + payload + b"\xce"


ACK = frame(1, pack(">HHQB", 60, 80, 7, 0))
HEARTBEAT = frame(8, b"")
BODY = frame(3, b"x" * 1000)


def test_every_byte_passes(proxies: Proxies) -> None:
    data = bytes(range(256)) * 2000
    with client(proxies) as connection:
        threading.Thread(target=connection.sendall, args=(data,)).start()
        assert received(connection, len(data)) == data


def test_end_passes_without_a_reset_and_without_loss(proxies: Proxies) -> None:
    with client(proxies) as connection:
        connection.sendall(b"last words")
        connection.shutdown(socket.SHUT_WR)
        assert received(connection, 100) == b"last words"


def test_cut_link_resets_and_refuses_until_it_heals(proxies: Proxies) -> None:
    with client(proxies) as connection:
        connection.sendall(b"a")
        assert received(connection, 1) == b"a"
        proxies.cut(NAME)
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    with client(proxies) as refused:
        assert gone(refused)
    proxies.heal(NAME)
    with client(proxies) as again:
        again.sendall(b"b")
        assert received(again, 1) == b"b"


def gone(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("way", list(Way))
def test_held_direction_keeps_bytes_back_and_loses_none(proxies: Proxies, way: Way) -> None:
    with client(proxies) as connection:
        proxies.links[NAME].now.held = frozenset({way})
        connection.sendall(b"later")
        assert silent(connection)
        proxies.heal(NAME)
        assert received(connection, 5) == b"later"


def test_forgotten_connection_stays_open_and_silent_for_ever(proxies: Proxies) -> None:
    with client(proxies) as connection:
        connection.sendall(b"a")
        assert received(connection, 1) == b"a"
        proxies.forget(NAME)
        proxies.heal(NAME)
        connection.sendall(b"b")
        assert silent(connection)
        with client(proxies) as other:
            other.sendall(b"c")
            assert received(other, 1) == b"c"


def test_torn_connection_gets_half_of_a_piece_and_a_reset(proxies: Proxies) -> None:
    with client(proxies) as connection:
        connection.sendall(b"a")
        assert received(connection, 1) == b"a"
        proxies.tear(NAME)
        connection.sendall(b"x" * 1000)
        with pytest.raises(ConnectionResetError):
            received(connection, 1000)


def test_slow_link_takes_its_time(proxies: Proxies) -> None:
    with client(proxies) as connection:
        proxies.links[NAME].now.latency_s = 0.1
        began = time.monotonic()
        connection.sendall(b"a")
        assert received(connection, 1) == b"a"
        assert time.monotonic() - began >= 0.2


def test_confirms_are_dropped_and_nothing_else(amqp: Proxies) -> None:
    with client(amqp) as connection:
        amqp.links[NAME].now.drops_confirms = True
        # From the client's side it is an acknowledgement, and passes; the server's echo of it is a confirm.
        connection.sendall(HEARTBEAT + ACK + BODY)
        assert received(connection, len(HEARTBEAT + BODY)) == HEARTBEAT + BODY
        assert amqp.links[NAME].dropped == 1
        amqp.heal(NAME)
        connection.sendall(ACK)
        assert received(connection, len(ACK)) == ACK


def test_delayed_acknowledgement_holds_back_what_follows_it(amqp: Proxies) -> None:
    with client(amqp) as connection:
        amqp.links[NAME].now.ack_delay_s = 0.5
        connection.sendall(HEARTBEAT + ACK + BODY)
        assert received(connection, len(HEARTBEAT)) == HEARTBEAT
        assert silent(connection)
        assert received(connection, len(ACK + BODY)) == ACK + BODY


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_stream_is_cut_into_frames_however_it_arrives(step: int) -> None:
    stream = b"AMQP\x00\x00\x09\x01" + HEARTBEAT + ACK + BODY
    frames = Frames()
    found: list[bytes] = []
    for at in range(0, len(stream), step):
        found += frames.cut(stream[at : at + step])
    assert found == [b"AMQP\x00\x00\x09\x01", HEARTBEAT, ACK, BODY]
    assert [is_ack(one) for one in found] == [False, False, True, False]


def test_link_with_several_servers_takes_the_first_that_answers(echo: Echo) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        dead = closed.getsockname()[1]
    proxies = Proxies(Link(NAME, dead, echo.port))
    proxies.start()
    with client(proxies) as connection:
        connection.sendall(b"a")
        assert received(connection, 1) == b"a"
    proxies.close()
