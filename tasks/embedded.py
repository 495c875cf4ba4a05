"""Kombu's Redis transport, as publisher and worker use it on the embedded store.

For publishing, a store that is away is known at once, and retried by the publisher alone: by itself the transport
waits for ever for an answer, and redis-py beneath it tries four times with pauses of up to ten seconds, in which a
store that is back is not noticed.

For working, what takes a round trip a message takes one for many: half of a small job's CPU went into that.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import msgspec
from kombu.transport import TRANSPORT_ALIASES, virtual
from kombu.transport.redis import Channel, Transport
from redis.backoff import NoBackoff
from redis.retry import Retry

from tasks.message import CONTENT_TYPE
from tasks.ticket import Outgoing

#: Seconds to wait for an answer.
ANSWER_S = 2.0


def envelope(message: Outgoing, tag: str) -> bytes:
    """A message as kombu's virtual transports keep it in a list; `tag` names this copy of it alone."""
    return msgspec.json.encode(
        {
            # msgspec writes bytes as base64.
            "body": message.body,
            "content-type": CONTENT_TYPE,
            "content-encoding": "utf-8",
            "headers": {},
            "properties": {
                "body_encoding": "base64",
                "delivery_info": {"exchange": "", "routing_key": message.queue},
                "delivery_mode": 2,
                "delivery_tag": tag,
                "message_id": message.id,
                "priority": 0,
            },
        }
    )


class PromptChannel(Channel):  # type: ignore[misc]  # kombu ships no types
    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        params: dict[str, Any] = super()._connparams(asynchronous)
        return {**params, "socket_timeout": ANSWER_S, "retry": Retry(NoBackoff(), 0)}


class PromptTransport(Transport):  # type: ignore[misc]
    Channel = PromptChannel


class WorkChannel(Channel):  # type: ignore[misc]
    @cached_property
    def _kept(self) -> Any:
        return self._create_client()

    @contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        """A client beside the one that waits for messages; kombu makes a new one for each command."""
        yield client or self._kept

    def ack_all(self, tags: Sequence[str]) -> None:
        """Acknowledge many messages in one round trip."""
        with self.conn_or_acquire() as client:
            client.pipeline().zrem(self.unacked_index_key, *tags).hdel(self.unacked_key, *tags).execute()
        for tag in tags:
            virtual.QoS.ack(self.qos, tag)


class WorkTransport(Transport):  # type: ignore[misc]
    Channel = WorkChannel


def work_url(url: str) -> str:
    """The store's address for Celery, which finds a transport by the scheme alone where that names a socket."""
    TRANSPORT_ALIASES["penstock"] = f"{__name__}:{WorkTransport.__name__}"
    return url.replace("redis+", "penstock+", 1)
