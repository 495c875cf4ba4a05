"""What became of jobs, from answers in a queue of one's own at RabbitMQ: no other part of the farm is asked.

The queue outlives its connection, so that a lost one loses no answer; the broker removes it once nobody has asked for
it for a while. An answer may come twice.
"""

import json
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from penstock.errors import BrokerUnavailable
from penstock.push_link import fatal, library, parameters, told
from penstock.push_results import End, end

EXCHANGE = "penstock.replies"
#: How long the queue stays without a connection, seconds.
STAYS_S = 900
#: Answers that the broker sends ahead.
PREFETCH = 500
#: Answers kept for who asks later, and jobs of which another answer is known to be of no use: the newest so many.
EARLY, TAKEN = 10_000, 100_000
#: Between tries to reach a broker that is away, seconds.
PAUSE_S = 0.5


class Replies:
    """The ends of the jobs expected. For one thread.

    Raises AccessError or BrokerUnavailable where no queue can be had.
    """

    def __init__(self, url: str, *, patience_s: float) -> None:
        self._pika = library("pika")
        self._parameters = parameters(self._pika, url)
        self._errors = (self._pika.exceptions.AMQPError, OSError)
        self._patience_s = patience_s
        self._away_since: float | None = None
        self._expected: set[str] = set()
        #: Answers nobody has asked for yet; jobs whose answer was asked for and came. Both oldest first.
        self._early: dict[str, End] = {}
        self._taken: dict[str, None] = {}
        self._heard: list[End] = []
        self._connection: Any = None
        #: What messages name in `reply-to`; the broker has chosen it.
        self.address = ""
        while not self.address:
            self._try(self._connect)

    def expect(self, ids: Iterable[str]) -> None:
        for id in ids:
            if id in self._early:
                self._give(self._early.pop(id))
            else:
                self._expected.add(id)

    def take(self, wait_s: float) -> list[End]:
        """Those that have ended since; waits for the first of them, `wait_s` at most.

        Raises BrokerUnavailable where the broker was away for the whole of `patience_s`.
        """
        self._try(lambda: self._listen(0 if self._heard else wait_s))
        heard, self._heard = self._heard, []
        return heard

    def close(self) -> None:
        """Remove the queue: answers that come later are dropped."""
        with suppress(*self._errors):
            self._channel.queue_delete(self.address)
            self._connection.close()

    def _listen(self, wait_s: float) -> None:
        if self._connection is None:
            self._connect()
        self._connection.process_data_events(time_limit=wait_s)

    def _connect(self) -> None:
        self._connection = self._pika.BlockingConnection(self._parameters)
        self._channel = channel = self._connection.channel()
        channel.basic_qos(prefetch_count=PREFETCH)
        if self.address:
            channel.queue_declare(self.address, passive=True)
        else:
            asked = {"x-expires": STAYS_S * 1000}
            self.address = channel.queue_declare("", durable=True, arguments=asked).method.queue
        channel.queue_bind(self.address, EXCHANGE, self.address)
        channel.basic_consume(self.address, self._hear)

    def _hear(self, channel: Any, method: Any, _properties: Any, body: bytes) -> None:
        said = json.loads(body)
        ended = end(said["id"], said["status"], said.get("outputs"), said.get("outputs_key"), said.get("error"))
        if ended.id in self._expected:
            self._expected.discard(ended.id)
            self._give(ended)
        elif ended.id not in self._taken:
            self._early[ended.id] = ended
            drop_oldest(self._early, EARLY)
        channel.basic_ack(method.delivery_tag)

    def _give(self, ended: End) -> None:
        self._heard.append(ended)
        self._taken[ended.id] = None
        drop_oldest(self._taken, TAKEN)

    def _try(self, step: Any) -> None:
        try:
            step()
        except self._errors as error:
            self._connection = None
            if access := fatal(self._pika, error, EXCHANGE):
                raise access from error
            now = time.monotonic()
            self._away_since = self._away_since or now
            if now - self._away_since > self._patience_s:
                raise BrokerUnavailable(
                    f"the broker cannot be reached: {told(error)}; the jobs go on, and so does the queue of answers "
                    f"{self.address!r} for {STAYS_S // 60} minutes"
                ) from error
            time.sleep(PAUSE_S)
        else:
            self._away_since = None


def drop_oldest(found: dict[str, Any], most: int) -> None:
    """Leave no more than `most` entries."""
    while len(found) > most:
        del found[next(iter(found))]
