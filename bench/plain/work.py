"""The worker: Celery's prefork pool on RabbitMQ, results in Redis; `celery -A bench.plain.work worker`.

As its documentation advises for work that must not be lost: persistent messages, confirmed publishing, late
acknowledgement. Each process loads the model once, before its first job. What is long does not go through the broker:
the web tier leaves it in Redis, and the message says where.
"""

import base64
import os
from pathlib import Path
from typing import Any

import numpy as np
from celery import Celery
from celery.signals import worker_process_init
from redis import Redis

NAME = os.environ["PLAIN_MODEL"]
#: Seconds that a result, and a picture's pixels, are kept.
KEPT_S = 86_400
PICTURE = (224, 224, 3)

app = Celery("plain", broker=os.environ["PLAIN_BROKER_URL"], backend=os.environ["PLAIN_REDIS_URL"])
app.conf.update(
    broker_transport_options={"confirm_publish": True},
    broker_connection_retry_on_startup=True,
    task_default_queue=f"plain-{NAME}",
    task_serializer="json",
    accept_content=["json"],
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_send_task_events=False,
    result_expires=KEPT_S,
)
store = Redis.from_url(os.environ["PLAIN_REDIS_URL"])


class Held:
    """The process's model."""

    model: Any


@worker_process_init.connect  # type: ignore[untyped-decorator]
def preload(**_: object) -> None:
    # Imported here: the web tier imports this file for its tasks, and needs no model library.
    from bench.plain.models import load

    Held.model = load(NAME, Path(os.environ["PLAIN_MODELS"]) / NAME / "1")


@app.task(name="run")  # type: ignore[untyped-decorator]
def run(rows: list[Any]) -> list[Any]:
    """Rows of numbers, or sentences."""
    outputs: list[Any] = Held.model.predict(rows).tolist()
    return outputs


@app.task(name="run_jpeg")  # type: ignore[untyped-decorator]
def run_jpeg(encoded: str) -> list[Any]:
    """One picture, a JPEG file in base64."""
    outputs: list[Any] = Held.model.predict([base64.b64decode(encoded)]).tolist()
    return outputs


@app.task(name="run_pixels")  # type: ignore[untyped-decorator]
def run_pixels(key: str) -> list[Any]:
    """One picture's pixels, which lie in Redis."""
    data = store.get(key)
    if data is None:
        raise LookupError(f"no picture at {key}")
    picture = np.frombuffer(data, dtype=np.uint8).reshape(PICTURE)
    outputs: list[Any] = Held.model.predict([picture]).tolist()
    return outputs
