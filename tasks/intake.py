"""AMQP as a worker reads it: all that has come in one read, and a lane's deliveries without a detour.

py-amqp reads each frame by three calls between two changes of the socket's timeout, and makes an object with all its
properties of each message: more than half of the processor time that a small job took in the worker. Whatever is no
delivery to a lane goes its usual way; so does everything on a connection with TLS.
"""

import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from struct import unpack_from
from typing import Any

from amqp.exceptions import RecoverableConnectionError, UnexpectedFrame
from amqp.method_framing import frame_handler
from amqp.transport import TCPTransport
from kombu.transport import pyamqp

from tasks.frames import END, HEADER, METHOD, OVERHEAD
from tasks.reply import Reply, in_header

#: As `broker_transport` of a Celery app.
TRANSPORT = "tasks.intake:Transport"
#: Read at once, bytes.
CHUNK = 1 << 18
#: Class and method of Basic.Deliver, AMQP 0-9-1 section 1.8.3.13.
DELIVER = b"\x00\x3c\x00\x3c"

Frame = tuple[int, int, bytes]
#: Told of a delivery: its tag, whether it was delivered before, its body, and who wants to hear of its job's end.
Receive = Callable[[int, bool, bytes, Reply | None], None]


class Inlet:
    """Deliveries on one channel."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._tag = 0
        self._redelivered = False
        self._reply: Reply | None = None
        #: Of the message that is under way: what is missing yet, bytes; None where there is none.
        self._missing: int | None = None
        self._parts: list[bytes] = []

    def takes(self, kind: int, payload: bytes) -> bool:
        """Take a frame in, if it is of a delivery. A message's frames follow each other on its channel."""
        if kind == METHOD:
            if not payload.startswith(DELIVER):
                return False
            # The consumer's tag, a short string, comes first.
            self._tag, self._redelivered = unpack_from(">Q?", payload, 5 + payload[4])
            self._missing = 0
            return True
        if self._missing is None:
            return False
        if kind == HEADER:
            (self._missing,) = unpack_from(">Q", payload, 4)
            self._reply = in_header(payload)
        else:
            self._missing -= len(payload)
            self._parts.append(payload)
        if not self._missing:
            body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
            self._missing, self._parts = None, []
            self._receive(self._tag, self._redelivered, body, self._reply)
        return True


class Socket(TCPTransport):  # type: ignore[misc]
    """Reads as much as there is, and hands it out by frames."""

    def _setup_transport(self) -> None:
        super()._setup_transport()
        self._read_buffer = b""
        self.frames: deque[Frame] = deque()

    def read_in(self) -> bool:
        """Read what has come, without waiting; False where there is nothing. Raises OSError when closed."""
        try:
            read = self.sock.recv(CHUNK, socket.MSG_DONTWAIT)
        except (BlockingIOError, InterruptedError):
            return False
        if not read:
            raise OSError("the broker closed the connection")
        frames, self._read_buffer = split(self._read_buffer + read)
        self.frames += frames
        return True

    def _read(self, size: int, *_: Any) -> bytes:
        """Raises TimeoutError in the midst of a frame as well, where the socket has a limit (SO_RCVTIMEO)."""
        try:
            read: bytes = super()._read(size, _errnos=())
        except BlockingIOError as error:
            raise TimeoutError("the broker does not answer") from error
        return read

    def read_frame(self, *_: Any) -> Frame:
        """Waits for one."""
        if self.frames:
            return self.frames.popleft()
        frame: Frame = super().read_frame()
        return frame


def split(data: bytes) -> tuple[list[Frame], bytes]:
    """The whole frames at the beginning, and what is left; raises UnexpectedFrame."""
    found: list[Frame] = []
    at = 0
    while len(data) - at >= OVERHEAD:
        kind, channel, size = unpack_from(">BHI", data, at)
        end = at + OVERHEAD + size
        if end > len(data):
            break
        if data[end - 1] != END[0]:
            raise UnexpectedFrame(f"a frame of {size} bytes ends with octet {data[end - 1]:#x}")
        found.append((kind, channel, data[at + OVERHEAD - 1 : end - 1]))
        at = end
    return found, data[at:]


class Reading(pyamqp.Connection):  # type: ignore[misc]
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, frame_handler=handler, **options)
        #: By number of the channel.
        self.inlets: dict[int, Inlet] = {}

    def Transport(  # noqa: N802
        self, host: str, connect_timeout: float, ssl: Any = False, *timeouts: float | None, **options: Any
    ) -> Any:
        if ssl:
            return super().Transport(host, connect_timeout, ssl, *timeouts, **options)
        return Socket(host, connect_timeout, *timeouts, **options)

    def drain_events(self, timeout: float | None = None) -> None:
        """Raises TimeoutError where nothing has come."""
        if timeout != 0 or not isinstance(self.transport, Socket):
            super().drain_events(timeout)
        else:
            self.drain(self.transport)

    def drain(self, transport: Socket) -> None:
        if not transport.read_in():
            raise TimeoutError
        # What is called may wait for an answer, and so take frames itself.
        while transport.frames:
            self.on_inbound_frame(transport.frames.popleft())


def handler(connection: Reading, callback: Callable[..., Any]) -> Callable[[Frame], bool]:
    """What is done with a frame; False while its message is not complete."""
    usual = frame_handler(connection, callback)

    def on_frame(frame: Frame) -> bool:
        kind, channel, payload = frame
        inlet = connection.inlets.get(channel)
        if inlet is None or not inlet.takes(kind, payload):
            done: bool = usual(frame)
            return done
        # By which the connection is known to live.
        connection.bytes_recv += 1
        return True

    return on_frame


class Transport(pyamqp.Transport):  # type: ignore[misc]
    Connection = Reading

    def on_readable(self, connection: Reading, loop: Any) -> None:
        """The event loop asks again as long as there is something to read."""
        if not connection.connected:
            raise RecoverableConnectionError("the connection to the broker is lost")
        with suppress(TimeoutError):
            connection.drain_events(timeout=0)
