"""One Redis client a process: bounded waits, so that a Redis that is away is known within seconds."""

import os
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis
from redis.backoff import ConstantBackoff
from redis.exceptions import ConnectionError, RedisError, ResponseError, TimeoutError
from redis.retry import Retry

from errors import PenstockError, StoreUnavailable

#: Seconds to connect and to wait for an answer; their sum with one retry stays below the 5 s that a submit may take.
CONNECT_S = 1.0
ANSWER_S = 1.0
#: How Redis begins an error that passes.
PASSING = ("OOM", "READONLY", "LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "NOREPLICAS", "MISCONF", "TRYAGAIN")
#: Seconds that a client is told to wait before it asks again.
RETRY_AFTER_S = 2.0
#: Seconds between the two tries of a command.
PAUSE_S = 0.05


class Client(redis.Redis):  # type: ignore[misc]  # redis-py ships no types
    """redis-py's client with a short way for single commands: each thread has a connection of its own.

    Taking a connection out of redis-py's pool and putting it back costs twice what the command itself does
    (measured with 8.1: 50 µs of CPU for a PING, 16 this way). Pipelines and subscriptions go redis-py's way.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._own = threading.local()
        self._every: weakref.WeakSet[redis.Connection] = weakref.WeakSet()

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """One command, tried twice; raises RedisError."""
        connection = self._connection()
        packed = connection.pack_command(*args)
        try:
            answer = exchange(connection, packed)
        except (ConnectionError, TimeoutError):
            time.sleep(PAUSE_S)
            answer = exchange(connection, packed)
        # redis-py's own note for its client-side cache.
        options.pop("keys", None)
        callback = self.response_callbacks.get(args[0])
        return answer if callback is None else callback(answer, **options)

    def execute_all(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Many commands in one round trip, tried twice; one that the server refuses has its error for an answer.

        Cheaper than redis-py's pipeline (measured, µs of CPU: 69 against 155 for 4 scripts, 136 against 259 for 16
        records).
        """
        connection = self._connection()
        packed = connection.pack_commands(commands)
        try:
            answers = exchange_all(connection, packed, len(commands))
        except (ConnectionError, TimeoutError):
            time.sleep(PAUSE_S)
            answers = exchange_all(connection, packed, len(commands))
        return [self._read(command[0], answer) for command, answer in zip(commands, answers, strict=True)]

    def _read(self, name: str, answer: Any) -> Any:
        callback = None if isinstance(answer, ResponseError) else self.response_callbacks.get(name)
        return answer if callback is None else callback(answer)

    def _connection(self) -> "redis.Connection":
        connection: redis.Connection | None = getattr(self._own, "connection", None)
        if connection is None or connection.pid != os.getpid():
            pool = self.connection_pool
            connection = self._own.connection = pool.connection_class(**pool.connection_kwargs)
            self._every.add(connection)
        return connection

    def close(self) -> None:
        for connection in list(self._every):
            connection.disconnect()
        super().close()


def exchange(connection: "redis.Connection", packed: Any) -> Any:
    """Send a command and take its answer; a failure closes the connection, and the next use opens it again."""
    connection.send_packed_command(packed, check_health=False)
    return connection.read_response()


def exchange_all(connection: "redis.Connection", packed: Any, count: int) -> list[Any]:
    connection.send_packed_command(packed, check_health=False)
    answers: list[Any] = []
    for _ in range(count):
        try:
            answers.append(connection.read_response())
        except ResponseError as error:
            answers.append(error)
    return answers


def connect(url: str, *, max_connections: int = 256) -> Client:
    """A client for `url` (redis://, rediss:// or unix://), bytes in and out; connects at first use."""
    client: Client = Client.from_url(
        url,
        max_connections=max_connections,
        socket_connect_timeout=CONNECT_S,
        socket_timeout=ANSWER_S,
        health_check_interval=0,
        retry=Retry(ConstantBackoff(0.05), 1),
        protocol=2,
    )
    return client


@contextmanager
def store_errors() -> Iterator[None]:
    """Turns a Redis that cannot answer now into StoreUnavailable, keeping the cause.

    A command that Redis refuses for good is a mistake of ours, and raised as PenstockError: waiting cannot mend it.
    """
    try:
        yield
    except ResponseError as error:
        # redis-py puts words of its own before the error of a pipeline's command.
        if not str(error).rpartition(" caused error: ")[2].startswith(PASSING):
            raise PenstockError(f"the job store refused: {error}") from error
        raise StoreUnavailable(f"the job store cannot write now: {error}", retry_after_s=RETRY_AFTER_S) from error
    except RedisError as error:
        raise StoreUnavailable(
            f"the job store does not answer: {type(error).__name__}", retry_after_s=RETRY_AFTER_S
        ) from error
