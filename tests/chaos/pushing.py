"""Jobs pushed straight to the queue by plain pika, as a program without Penstock's code does it."""

import json
import time
from contextlib import suppress

import pika

from tests.chaos.history import Call, Intent
from tests.chaos.place import Place
from tests.chaos.recorder import Recorder

#: Seconds that a push may take before its client begins again.
BLOCKED_S = 5
#: Tries of one push, and seconds between two.
TRIES, PAUSE_S = 60, 0.5


class Pusher:
    """Publishes persistent, mandatory and confirmed; what has no confirm is pushed again under the same id."""

    def __init__(self, place: Place, recorder: Recorder) -> None:
        self._url = place.broker
        self._tenant = place.tenant
        self._recorder = recorder
        self._channel: pika.adapters.blocking_connection.BlockingChannel | None = None

    def insist(self, intent: Intent) -> None:
        for _ in range(TRIES):
            began = time.monotonic()
            status = 202 if self._push(intent) else 0
            self._recorder.note(
                Call(began=began, ended=time.monotonic(), op="push", key=intent.key, job=intent.key, status=status)
            )
            if status:
                return
            time.sleep(PAUSE_S)

    def _push(self, intent: Intent) -> bool:
        """Whether the broker confirmed it."""
        message = {
            "v": 1, "id": intent.key, "model": intent.model, "version": "1", "tenant": self._tenant,
            "inputs": {"text": [intent.input]}, "metadata": {"key": intent.key},
        }  # fmt: skip
        try:
            channel = self._channel = self._channel or self._open()
            channel.basic_publish(
                exchange="penstock.jobs",
                routing_key=f"cpu.{intent.model}.1.normal",
                body=json.dumps(message),
                properties=pika.BasicProperties(delivery_mode=2, content_type="application/json"),
                mandatory=True,
            )
        except (pika.exceptions.AMQPError, OSError):
            self.close()
            return False
        return True

    def _open(self) -> "pika.adapters.blocking_connection.BlockingChannel":
        parameters = pika.URLParameters(self._url)
        parameters.blocked_connection_timeout = parameters.socket_timeout = parameters.stack_timeout = BLOCKED_S
        channel = pika.BlockingConnection(parameters).channel()
        channel.confirm_delivery()
        return channel

    def close(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            with suppress(pika.exceptions.AMQPError, OSError):
                channel.connection.close()
