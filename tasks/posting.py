"""Celery tasks on their way to the broker, published by a tick."""

from collections.abc import Iterable

from celery import Celery
from kombu import Connection

from tasks.link import connected
from tasks.topology import depth, is_amqp


class Post:
    """To one queue, on a connection of its own, which is made when it is needed. Not thread-safe."""

    def __init__(self, app: Celery, *, queue: str) -> None:
        self._app = app
        self._queue = queue
        self._connection: Connection | None = None

    def send_all(self, tasks: Iterable[tuple[str, tuple[str, ...]]], *, stale_s: int) -> None:
        """Publish tasks, by name and arguments, which are dropped after `stale_s`; raises what the transport does."""
        sent = 0
        try:
            for name, arguments in tasks:
                self._send(name, arguments, stale_s)
                sent += 1
            if sent:
                self._ask()
        # What the connection was lost to is raised on; the next tick takes a new one.
        except Exception:
            self.close()
            raise

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            # A polite close would wait for a broker that may be blocked or gone.
            connection.collect(socket_timeout=0.1)

    def _send(self, name: str, arguments: tuple[str, ...], stale_s: int) -> None:
        if self._connection is None:
            self._connection = connected(self._app.conf.broker_url)
        self._app.send_task(
            name, list(arguments), queue=self._queue, connection=self._connection, expiration=stale_s, retry=False
        )

    def _ask(self) -> None:
        """Raises TimeoutError where the broker does not answer: what it is sent goes nowhere, and without an error."""
        if self._connection is not None and is_amqp(self._connection):
            depth(self._connection, self._queue)
