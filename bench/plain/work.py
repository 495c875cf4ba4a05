"""The worker: Celery's prefork pool on RabbitMQ, results in Redis.

As its documentation advises for work that must not be lost: persistent messages, confirmed publishing, late
acknowledgement. `celery -A bench.plain.work worker`.
"""

import os
from typing import Any

import numpy as np
from celery import Celery

app = Celery("plain", broker=os.environ["PLAIN_BROKER_URL"], backend=os.environ["PLAIN_REDIS_URL"])
app.conf.update(
    broker_transport_options={"confirm_publish": True},
    broker_connection_retry_on_startup=True,
    task_default_queue="plain",
    task_serializer="json",
    accept_content=["json"],
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_send_task_events=False,
    result_expires=86_400,
)


class Model:
    """Stands for a model that was loaded once a process."""

    def predict(self, x: np.ndarray[Any, np.dtype[np.float32]]) -> np.ndarray[Any, np.dtype[np.float32]]:
        return x


model = Model()


@app.task(name="run")  # type: ignore[untyped-decorator]
def run(x: list[float]) -> list[Any]:
    y: list[Any] = model.predict(np.asarray([x], dtype=np.float32)).tolist()
    return y
