"""The outbox's and the targets' tick, and the Celery task that sends.

A task names a target, not a delivery: what is to be sent, and when, stands in Redis alone. So a task that is lost, or
comes twice, or to a process that dies, does no harm: whatever is due is dispatched again.
"""

import logging
from typing import Any

import redis
from celery import Celery

from errors import StoreUnavailable
from storage.deliveries import Deliveries
from tasks.posting import Post
from tasks.ticking import Ticking
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
        self._expander = expander
        self._deliveries = deliveries
        self._post = Post(app, queue=queue)

    def work(self) -> None:
        while self._expander.tick(limit=LIMIT) == LIMIT:
            self._dispatch()
        self._dispatch()

    def close(self) -> None:
        self._post.close()

    def _dispatch(self) -> None:
        due = self._deliveries.due(limit=LIMIT)
        # One for each sender that a target needs.
        tasks = ((TASK, (target,)) for target in due for _ in range(self._deliveries.dispatch(target)))
        self._post.send_all(tasks, stale_s=STALE_S)


def register(app: Celery, deliverer: Deliverer) -> Any:
    """Make the task known to this process's Celery."""

    def send(target: str) -> None:
        try:
            deliverer.drain(target)
        except StoreUnavailable as error:
            # What was leased is sent again, under its id, once the lease is over.
            log.warning("webhooks wait for the store", extra={"target": target, "reason": error.detail})

    return app.task(send, name=TASK, ignore_result=True)
