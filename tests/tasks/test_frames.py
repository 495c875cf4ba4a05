"""Frames as they are written and read, held against py-amqp's own."""

import socket
from types import SimpleNamespace
from typing import Any

import pytest
from amqp import spec
from amqp.basic_message import Message
from amqp.exceptions import UnexpectedFrame
from amqp.method_framing import frame_writer
from amqp.serialization import dumps
from hypothesis import given
from hypothesis import strategies as st

from tasks import frames
from tasks.intake import Inlet, Reading, Socket, handler, split
from tasks.reply import Reply

FRAME_MAX = 4096
names = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=80)
bodies = st.one_of(st.binary(max_size=300), st.integers(0, 3 * FRAME_MAX).map(lambda size: b"x" * size))
deliveries = st.lists(st.tuples(st.integers(1, 2**40), st.booleans(), bodies), max_size=8)


def by_py_amqp(queue: str, id: str, body: bytes, **more: str) -> bytes:
    written: list[bytes] = []
    transport = SimpleNamespace(write=lambda data: written.append(bytes(data)))
    write = frame_writer(SimpleNamespace(frame_max=FRAME_MAX, bytes_sent=0), transport)
    message = Message(
        body, content_type="application/json", content_encoding="utf-8", delivery_mode=2, message_id=id, **more
    )  # fmt: skip
    arguments = dumps("Bssbb", (0, "jobs", queue, True, False))
    write(1, 7, spec.Basic.Publish, arguments, message)
    return b"".join(written)


@given(names, names, bodies)
def test_published_message_is_what_py_amqp_writes(queue: str, id: str, body: bytes) -> None:
    made = frames.published(frames.method("jobs", queue), id, body, channel=7, frame_max=FRAME_MAX)
    assert made == by_py_amqp(queue, id, body)


@given(names, names, names.filter(bool), bodies)
def test_answer_is_what_py_amqp_writes(queue: str, id: str, answers: str, body: bytes) -> None:
    method = frames.method("jobs", queue)
    made = frames.published(method, id, body, channel=7, frame_max=FRAME_MAX, correlation_id=answers)
    assert made == by_py_amqp(queue, id, body, correlation_id=answers)


def test_queue_name_beyond_what_amqp_carries_is_refused() -> None:
    with pytest.raises(ValueError, match="longer than 255 bytes"):
        frames.method("jobs", "q" * 256)


def delivered(tag: int, redelivered: bool, body: bytes) -> bytes:
    method = b"\x00\x3c\x00\x3c" + dumps("sLbss", ("consumer", tag, redelivered, "jobs", "cpu.echo.1.normal"))
    header = bytes.fromhex("003c0000") + len(body).to_bytes(8, "big") + b"\x00\x00"
    most = FRAME_MAX - frames.OVERHEAD
    parts = [body[start : start + most] for start in range(0, len(body), most)]
    return b"".join(
        [frames.frame(1, 7, method), frames.frame(2, 7, header), *[frames.frame(3, 7, part) for part in parts]]
    )


def connection() -> Any:
    return SimpleNamespace(inlets={}, bytes_recv=0)


@given(deliveries, st.data())
def test_deliveries_are_read_however_the_network_cuts_them(sent: list[tuple[int, bool, bytes]], data: Any) -> None:
    stream = b"".join(delivered(*one) for one in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    reading, received = connection(), []
    reading.inlets[7] = Inlet(lambda *one: received.append(one[:3]))
    on_frame = handler(reading, lambda *_: pytest.fail("a delivery went its usual way"))
    rest = b""
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        whole, rest = split(rest + stream[start:end])
        for one in whole:
            on_frame(one)
    assert (received, rest) == (sent, b"")


def test_what_is_no_delivery_goes_its_usual_way() -> None:
    reading, usual = connection(), []
    reading.inlets[7] = Inlet(lambda *_: pytest.fail("no delivery"))
    on_frame = handler(reading, lambda channel, method, *_: usual.append((channel, method)))
    # Basic.Ack between two deliveries, and a heartbeat.
    on_frame((1, 7, b"\x00\x3c\x00\x50" + bytes(9)))
    on_frame((8, 0, b""))
    assert usual == [(7, (60, 80))]


def test_frame_without_its_end_is_an_error() -> None:
    with pytest.raises(UnexpectedFrame, match="ends with octet 0x0"):
        split(frames.frame(8, 0, b"")[:-1] + b"\x00")


def pair() -> tuple[Reading, socket.socket]:
    ours, theirs = socket.socketpair()
    reading = Reading.__new__(Reading)
    transport = Socket.__new__(Socket)
    transport.sock = ours
    transport._setup_transport()
    reading.transport, reading.inlets, reading.bytes_recv = transport, {}, 0
    reading.on_inbound_frame = handler(reading, lambda *_: None)
    return reading, theirs


def test_one_look_reads_everything_and_the_next_finds_nothing() -> None:
    reading, theirs = pair()
    received: list[tuple[int, bool, bytes]] = []
    reading.inlets[7] = Inlet(lambda *one: received.append(one[:3]))
    theirs.sendall(delivered(1, False, b"a") + delivered(2, True, b"") + delivered(3, False, b"c")[:-3])
    reading.drain_events(timeout=0)
    assert received == [(1, False, b"a"), (2, True, b"")]
    with pytest.raises(TimeoutError):
        reading.drain_events(timeout=0)
    theirs.sendall(delivered(3, False, b"c")[-3:])
    reading.drain_events(timeout=0)
    assert received[2:] == [(3, False, b"c")]
    theirs.close()
    with pytest.raises(OSError, match="closed the connection"):
        reading.drain_events(timeout=0)
    reading.transport.sock.close()


def test_waiting_for_an_answer_takes_what_was_read_before_it() -> None:
    reading, theirs = pair()
    received: list[bytes] = []

    def receive(tag: int, _redelivered: bool, body: bytes, _reply: Reply | None) -> None:
        received.append(body)
        if tag == 1:
            # As `basic_cancel` does: read on until the broker's answer comes.
            reading.blocking_read(1)
            reading.blocking_read(1)
            reading.blocking_read(1)

    reading.inlets[7] = Inlet(receive)
    theirs.sendall(delivered(1, False, b"a") + delivered(2, False, b"b") + delivered(3, False, b"c"))
    reading.drain_events(timeout=0)
    assert received == [b"a", b"b", b"c"]
    theirs.close()
    reading.transport.sock.close()
