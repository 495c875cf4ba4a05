"""Kombu's Redis transport for publishing: a store that is away is known at once, and retried by the publisher alone.

By itself the transport waits for ever for an answer, and redis-py beneath it tries four times with pauses of up to
ten seconds, in which a store that is back is not noticed.
"""

from typing import Any

from kombu.transport.redis import Channel, Transport
from redis.backoff import NoBackoff
from redis.retry import Retry

#: Seconds to wait for an answer.
ANSWER_S = 2.0


class PromptChannel(Channel):  # type: ignore[misc]  # kombu ships no types
    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        params: dict[str, Any] = super()._connparams(asynchronous)
        return {**params, "socket_timeout": ANSWER_S, "retry": Retry(NoBackoff(), 0)}


class PromptTransport(Transport):  # type: ignore[misc]
    Channel = PromptChannel
