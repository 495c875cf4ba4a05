"""One connection of the publisher: what it sends, and the confirms that come back."""

import socket
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import takewhile
from typing import Any, Protocol

from kombu import Connection

from tasks import frames, topology
from tasks.intake import Socket, Transport
from tasks.message import new_id
from tasks.ticket import RETRY_AFTER_S, QueueRefuses, Ticket, Unroutable

#: Seconds to make a connection.
CONNECT_S = 2.0
#: Seconds that one write may take.
WRITE_S = 3
#: Seconds to wait for an answer. A link of which only one side knows that it is gone gives neither that nor an error.
READ_S = 5


class Blocked(Exception):
    """The broker takes no messages for now: it is short of memory or disk."""


class Link(Protocol):
    """Whatever a transport raises comes out of every method: the connection is of no use then."""

    #: Sent and without the broker's word, oldest first.
    unconfirmed: dict[int, Ticket]
    #: Lanes known to be there.
    declared: set[str]

    def declare(self, queues: Iterable[str]) -> None: ...

    def send(self, batch: Sequence[Ticket]) -> None: ...

    def fileno(self) -> int:
        """Readable when confirms have come."""

    def take_confirms(self) -> None:
        """Settle what the broker has confirmed so far; does not wait. Raises Blocked where it takes no more."""

    def close(self) -> None: ...


class AmqpLink:
    """A channel in confirm mode."""

    def __init__(self, url: str, queues: Iterable[str]) -> None:
        self._connection = connected(url)
        self.declared: set[str] = set()
        self.declare(queues)
        channel = self._channel = self._connection.channel()
        #: Kept, as the connection forgets it when the broker closes.
        self._transport: Any = channel.connection.transport
        self._in_one_piece = isinstance(self._transport, Socket)
        self._next_tag = 1
        self.unconfirmed: dict[int, Ticket] = {}
        #: What messages to a queue begin with.
        self._methods: dict[tuple[str, str], bytes] = {}
        #: Said by the broker under an alarm, to whoever publishes then (connection.blocked, RabbitMQ's extension).
        self._blocked = False
        channel.connection.on_blocked = self._on_blocked
        channel.confirm_select()
        channel.events["basic_ack"].add(self._on_ack)
        channel.events["basic_nack"].add(self._on_nack)
        channel.events["basic_return"].add(self._on_return)

    def declare(self, queues: Iterable[str]) -> None:
        self.declared.update(topology.declare(self._connection, queues))

    def send(self, batch: Sequence[Ticket]) -> None:
        """Everything in one write: each lets go of Python's lock."""
        channel = self._channel
        number, frame_max = channel.channel_id, channel.connection.frame_max
        parts = []
        for ticket in batch:
            queue, id, body, correlation_id = ticket.message
            method = self._method(topology.REPLY_EXCHANGE if correlation_id else topology.EXCHANGE, queue)
            parts.append(
                frames.published(method, id, body, channel=number, frame_max=frame_max, correlation_id=correlation_id)
            )
            self.unconfirmed[self._next_tag] = ticket
            self._next_tag += 1
        self._transport.write(b"".join(parts))

    def _method(self, exchange: str, queue: str) -> bytes:
        method = self._methods.get((exchange, queue))
        if method is None:
            method = self._methods[exchange, queue] = frames.method(exchange, queue)
        return method

    def fileno(self) -> int:
        return int(self._transport.sock.fileno())

    def take_confirms(self) -> None:
        with suppress(TimeoutError):
            self._connection.drain_events(timeout=0)
            # With TLS it takes one frame, and what was read beyond that makes no socket readable.
            while not self._in_one_piece:
                self._connection.drain_events(timeout=0)
        if self._blocked:
            raise Blocked("it is under an alarm: short of memory or disk")

    def _on_blocked(self, _reason: str) -> None:
        self._blocked = True

    def _settle(self, tag: int, multiple: bool, error: Exception | None) -> None:
        for one in list(takewhile(lambda one: one <= tag, self.unconfirmed)) if multiple else [tag]:
            ticket = self.unconfirmed.pop(one, None)
            if ticket is not None:
                ticket.settle(error)

    def _on_ack(self, tag: int, multiple: bool) -> None:
        self._settle(tag, multiple, None)

    def _on_nack(self, tag: int, multiple: bool) -> None:
        self._settle(tag, multiple, QueueRefuses(retry_after_s=RETRY_AFTER_S))

    def _on_return(self, _error: Exception, _exchange: str, routing_key: str, message: Any) -> None:
        id = message.properties.get("message_id")
        for ticket in self.unconfirmed.values():
            if ticket.message.id == id:
                ticket.settle(Unroutable(f"the broker has no queue {routing_key!r}", retry_after_s=RETRY_AFTER_S))

    def close(self) -> None:
        try:
            # Close the socket at once: a polite close waits for a broker that may be blocked or gone.
            if self._transport.sock is not None:
                self._transport.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it was gone already
        self._connection.collect(socket_timeout=0.1)


class EmbeddedLink:
    """On the embedded store a queue is a list: the push that returns is the confirm."""

    def __init__(self, url: str, queues: Iterable[str]) -> None:
        # A leaf: with RabbitMQ nobody needs it.
        from tasks.embedded import envelope

        self._envelope = envelope
        self._connection = connected(url)
        self.unconfirmed: dict[int, Ticket] = {}
        self.declared: set[str] = set()
        self.declare(queues)
        # Made once: kombu's publish makes a Redis client for each message, which costs more than a request.
        with self._connection.channel().conn_or_acquire() as client:
            self._client: Any = client

    def declare(self, queues: Iterable[str]) -> None:
        self.declared.update(topology.declare(self._connection, queues))

    def send(self, batch: Sequence[Ticket]) -> None:
        self.unconfirmed = dict(enumerate(batch))
        lanes: dict[str, list[bytes]] = {}
        for ticket in batch:
            lanes.setdefault(ticket.message.queue, []).append(self._envelope(ticket.message, new_id()))
        pipe = self._client.pipeline()
        for queue, envelopes in lanes.items():
            pipe.lpush(queue, *envelopes)
        pipe.execute()
        self.unconfirmed = {}
        for ticket in batch:
            ticket.settle()

    def fileno(self) -> int:
        raise AssertionError("nothing is ever waited for")

    def take_confirms(self) -> None:
        """There are none."""

    def close(self) -> None:
        self._connection.collect(socket_timeout=0.1)


def link(url: str, queues: Iterable[str]) -> Link:
    """A new connection; raises what kombu and the transport raise."""
    return EmbeddedLink(url, queues) if url.startswith("redis") else AmqpLink(url, queues)


def connected(url: str) -> Connection:
    """A new connection, on which whatever waits for the broker ends within seconds, by an error if need be."""
    connection = connection_to(url)
    # kombu's own `connect` pauses two seconds before a second try.
    connection.ensure_connection(max_retries=0)
    return connection


def connection_to(url: str) -> Connection:
    if url.startswith("redis"):
        from tasks.embedded import PromptTransport

        connection = Connection(url)
        # Given beside the address of a socket it would be overruled.
        connection.transport_cls = PromptTransport
        return connection
    # A broker under an alarm stops reading: without a limit the write itself would wait for it.
    options = {"write_timeout": WRITE_S, "read_timeout": READ_S}
    if url.startswith("amqp://"):
        return Connection(url, transport=Transport, connect_timeout=CONNECT_S, heartbeat=0, transport_options=options)
    return Connection(url, connect_timeout=CONNECT_S, heartbeat=0, transport_options=options)
