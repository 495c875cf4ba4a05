"""The outbox's and the targets' tick, and the Celery task that sends.

A task names a target, not a delivery: what is to be sent, and when, stands in Redis alone. So a task that is lost, or
comes twice, or to a process that dies, does no harm: whatever is due is dispatched again.
"""

import logging
from typing import Any

import redis
from celery import Celery
from kombu import Connection

from errors import StoreUnavailable
from storage.deliveries import Deliveries
from tasks.link import connected
from tasks.ticking import Ticking
from tasks.topology import depth, is_amqp
from tasks.webhooks.delivering import Deliverer
from tasks.webhooks.expanding import Expander

log = logging.getLogger(__name__)

#: Celery's name of the task.
TASK = "penstock.webhooks.send"
#: Events expanded, and targets looked at, in one tick.
LIMIT = 500
#: After which a task in the broker is worth nothing: its target has been dispatched again, seconds.
STALE_S = 60


class Dispatcher(Ticking):
    """Expands the outbox, and publishes a task for each sender that a target needs."""

    def __init__(
        self, app: Celery, expander: Expander, deliveries: Deliveries, client: "redis.Redis", *, queue: str
    ) -> None:
        super().__init__("webhooks", client)
        self._app = app
        self._expander = expander
        self._deliveries = deliveries
        self._queue = queue
        self._connection: Connection | None = None

    def work(self) -> None:
        while self._expander.tick(limit=LIMIT) == LIMIT:
            self._dispatch()
        self._dispatch()

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            # A polite close would wait for a broker that may be blocked or gone.
            connection.collect(socket_timeout=0.1)

    def _dispatch(self) -> None:
        try:
            if sum(self._dispatch_to(target) for target in self._deliveries.due(limit=LIMIT)):
                self._ask()
        # What the connection was lost to is raised on; the next tick takes a new one.
        except Exception:
            self.close()
            raise

    def _dispatch_to(self, target: str) -> int:
        """Returns how many tasks it took."""
        count = self._deliveries.dispatch(target)
        for _ in range(count):
            self._publish(target)
        return count

    def _publish(self, target: str) -> None:
        if self._connection is None:
            self._connection = connected(self._app.conf.broker_url)
        self._app.send_task(
            TASK, [target], queue=self._queue, connection=self._connection, expiration=STALE_S, retry=False
        )

    def _ask(self) -> None:
        """Raises TimeoutError where the broker does not answer: what it is sent goes nowhere, and without an error."""
        if self._connection is not None and is_amqp(self._connection):
            depth(self._connection, self._queue)


def register(app: Celery, deliverer: Deliverer) -> Any:
    """Make the task known to this process's Celery."""

    def send(target: str) -> None:
        try:
            deliverer.drain(target)
        except StoreUnavailable as error:
            # What was leased is sent again, under its id, once the lease is over.
            log.warning("webhooks wait for the store", extra={"target": target, "reason": error.detail})

    return app.task(send, name=TASK, ignore_result=True)
