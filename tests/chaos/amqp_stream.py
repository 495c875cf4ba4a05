"""AMQP 0-9-1 as the proxy needs to know it: a stream cut into frames, and which of them are acknowledgements."""

from collections.abc import Iterator
from struct import unpack_from

#: What a client sends first, section 4.2.2 of the specification; it is no frame.
GREETING = b"AMQP"
GREETING_BYTES = 8
METHOD = 1
#: Type, channel and size before the payload, and the octet that ends a frame.
HEAD, END = 7, 1
#: Class and method of Basic.Ack and Basic.Nack: of a server, its confirms; of a client, what it has consumed.
ACKS = frozenset({(60, 80), (60, 120)})


class Frames:
    """Cuts one direction of a connection into whole frames, however its bytes arrive."""

    def __init__(self) -> None:
        self._rest = b""

    def cut(self, data: bytes) -> Iterator[bytes]:
        data = self._rest + data
        at = 0
        while (size := size_of(data, at)) is not None and at + size <= len(data):
            yield data[at : at + size]
            at += size
        self._rest = data[at:]


def size_of(data: bytes, at: int) -> int | None:
    """Bytes of the frame that begins there; None where too little of it has come."""
    if data.startswith(GREETING, at):
        return GREETING_BYTES
    if len(data) - at < HEAD:
        return None
    return HEAD + int(unpack_from(">I", data, at + 3)[0]) + END


def is_ack(frame: bytes) -> bool:
    return len(frame) > HEAD + 4 and frame[0] == METHOD and unpack_from(">HH", frame, HEAD) in ACKS
