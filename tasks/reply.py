"""Where the sender of a message wants to hear of its job's end: AMQP's own `reply-to` and `correlation-id`."""

import struct
from typing import NamedTuple

import msgspec

#: Flags of properties in a content header, AMQP 0-9-1 section 1.8.1; those before these two, and how long each is.
CONTENT_TYPE, CONTENT_ENCODING, HEADERS, DELIVERY_MODE, PRIORITY = 1 << 15, 1 << 14, 1 << 13, 1 << 12, 1 << 11
CORRELATION_ID, REPLY_TO = 1 << 10, 1 << 9
#: Where the flags stand in the header's payload: behind class, weight and the body's size.
FLAGS = 12


class Reply(NamedTuple):
    """An address."""

    #: Or any routing key by which one is bound to `tasks.topology.REPLY_EXCHANGE`.
    queue: str
    #: Empty: the job's id serves.
    correlation_id: str = ""

    def encode(self) -> str:
        """As a record keeps it."""
        return _encoder.encode(self).decode()


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Reply)


def decode(text: str) -> Reply | None:
    """What a record keeps; None where it keeps nothing."""
    return _decoder.decode(text) if text else None


def reply(queue: object, correlation_id: object) -> Reply | None:
    """Of a message's properties, which may be missing."""
    return Reply(str(queue), str(correlation_id or "")) if queue else None


def in_header(payload: bytes) -> Reply | None:
    """What a content header says, without a look at the rest of its properties."""
    try:
        (flags,) = struct.unpack_from(">H", payload, FLAGS)
        return _read(payload, flags) if flags & REPLY_TO else None
    # The broker passes on what the sender wrote.
    except (struct.error, IndexError, UnicodeDecodeError):
        return None


def _read(payload: bytes, flags: int) -> Reply | None:
    at = FLAGS + 2
    for flag in (CONTENT_TYPE, CONTENT_ENCODING):
        if flags & flag:
            at += 1 + payload[at]
    if flags & HEADERS:
        (size,) = struct.unpack_from(">I", payload, at)
        at += 4 + size
    at += bool(flags & DELIVERY_MODE) + bool(flags & PRIORITY)
    correlation = ""
    if flags & CORRELATION_ID:
        correlation, at = _short(payload, at)
    queue, _ = _short(payload, at)
    return reply(queue, correlation)


def _short(payload: bytes, at: int) -> tuple[str, int]:
    """A short string, and where it ends."""
    end = at + 1 + payload[at]
    return payload[at + 1 : end].decode(), end
