"""One Redis client a process: bounded waits, so that a Redis that is away is known within seconds."""

from collections.abc import Iterator
from contextlib import contextmanager

import redis
from redis.backoff import ConstantBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from errors import StoreUnavailable

#: Seconds to connect and to wait for an answer; their sum with one retry stays below the 5 s that a submit may take.
CONNECT_S = 1.0
ANSWER_S = 2.0
#: Seconds that a client is told to wait before it asks again.
RETRY_AFTER_S = 2.0


def connect(url: str, *, max_connections: int = 256) -> "redis.Redis":
    """A client for `url` (redis://, rediss:// or unix://), bytes in and out; connects at first use."""
    return redis.Redis.from_url(
        url,
        max_connections=max_connections,
        socket_connect_timeout=CONNECT_S,
        socket_timeout=ANSWER_S,
        health_check_interval=0,
        retry=Retry(ConstantBackoff(0.05), 1),
        protocol=2,
    )


@contextmanager
def store_errors() -> Iterator[None]:
    """Turns every Redis error into StoreUnavailable, keeping the cause."""
    try:
        yield
    except RedisError as error:
        raise StoreUnavailable(
            f"the job store does not answer: {type(error).__name__}", retry_after_s=RETRY_AFTER_S
        ) from error
