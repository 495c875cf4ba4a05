"""One lane of one model version, consumed on a channel of its own; and the deliveries that come from it."""

import logging
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import msgspec

from errors import PenstockError
from storage.clock import wall_ms
from storage.job import NewJob
from storage.jobs import Claim
from tasks import message as messages
from tasks.intake import Inlet
from tasks.message import Message
from tasks.reply import Reply, reply
from tasks.signing import Signing
from workers import wire
from workers.acks import Ledger
from workers.batcher import Alone, likeness

log = logging.getLogger(__name__)


class Delivery:
    """A message in this worker's hands: what the batcher orders, and what is settled in the end."""

    __slots__ = (
        "apart", "arrived_s", "body", "claim", "deaths", "lane", "likeness", "message", "redelivered", "reply", "rows",
        "seen_ms", "start_by_ms", "tag", "weight",
    )  # fmt: skip

    def __init__(
        self, lane: "Lane", tag: Any, body: bytes, message: Message, *, redelivered: bool, reply: Reply | None = None
    ) -> None:
        self.lane = lane
        self.tag = tag
        self.body = body
        self.message = message
        self.rows = message.rows
        self.weight = message.weight or 1
        self.likeness = Alone(message.id) if message.shard else likeness(message.shape, message.weight)
        self.redelivered = redelivered
        #: Who is told of the job's end before the message is acknowledged.
        self.reply = reply
        self.arrived_s = time.monotonic()
        self.seen_ms = wall_ms()
        #: As the message says it; the record, which a retry may have changed, has the last word.
        self.start_by_ms = message.start_by_ms(message.created_ms or self.seen_ms)
        #: Set once the job is ours to run.
        self.claim: Claim | None = None
        #: Executors that died while they ran this job alone.
        self.deaths = 0
        #: It was taken out of its batch, to run alone.
        self.apart = False

    @property
    def id(self) -> str:
        return self.message.id

    @property
    def is_shard(self) -> bool:
        """Whether it is rows of a table, to be run in slices."""
        return self.message.shard is not None

    @property
    def lane_name(self) -> str:
        return self.lane.name

    @property
    def since_ms(self) -> int:
        """When the job was submitted, as far as is known."""
        return self.message.created_ms or self.seen_ms

    @property
    def timeout_s(self) -> float | None:
        return self.message.timeout_s

    @property
    def wanted(self) -> bool:
        """Whether the job is ours to run."""
        return self.claim is not None

    def record(self) -> NewJob:
        """The record to be made where there is none."""
        record = self.message.record(self.body, now_ms=self.seen_ms)
        return msgspec.structs.replace(record, reply=self.reply.encode()) if self.reply else record

    def item(self) -> wire.Item:
        return wire.Item(self.id, self.claim.token if self.claim else 0, self.body)


class Lane:
    """Consumes one queue. Made anew with each connection: tags of an older channel mean nothing.

    Deliveries arrive, and acknowledgements leave, on the thread of Celery's event loop, since a connection is
    not thread-safe; `settle` may be called from any thread.
    """

    def __init__(self, connection: Any, queue: str, *, amqp: bool, prefetch: int, consumer: str) -> None:
        self.queue = queue
        self.name = queue.rpartition(".")[2]
        self.alive = True
        self._amqp = amqp
        self._channel = connection.channel()
        self._inlets = getattr(connection.connection, "inlets", None)
        #: Names this consumer, and with a delivery's tag the delivery, in the whole farm and for ever.
        self.consumer = f"{consumer}/{uuid.uuid4().hex[:8]}"
        self._guard = threading.Lock()
        # AMQP tags count up, so that one ack can stand for many; the embedded store's are random names.
        self._ledger = Ledger()
        self._settled: list[Any] = []
        self._held: dict[Any, None] = {}
        self.prefetch = prefetch
        #: When the last shard came, monotonic seconds.
        self.shard_s = 0.0
        self._channel.basic_qos(0, prefetch, False)
        self._callback: Callable[[Any], None] | None = None
        #: Consumers so far on this channel, of which the last one goes on.
        self._consumers = 0

    def consume(
        self,
        on_delivery: Callable[[Delivery], None],
        on_refused: Callable[["Lane", Any, bytes, PenstockError], None],
        *,
        signing: Signing | None = None,
    ) -> None:
        """Begin; each message that can be read goes to `on_delivery`.

        Each that cannot, or that `signing` does not know, goes to `on_refused`, with its tag, and is settled there.
        """

        def receive(tag: Any, redelivered: bool, body: bytes, reply: Reply | None) -> None:
            with self._guard:
                self._hold(tag)
            try:
                if signing is not None:
                    signing.check(body)
                message = messages.decode(body)
                if message.queue != self.queue:
                    raise messages.wrong_queue(message, self.queue)
            except PenstockError as error:
                on_refused(self, tag, body, error)
                return
            on_delivery(Delivery(self, tag, body, message, redelivered=redelivered, reply=reply))

        def unwrap(raw: Any) -> None:
            body = raw.body if isinstance(raw.body, bytes) else raw.body.encode()
            again = raw.delivery_info.get("redelivered") or (raw.headers or {}).get("redelivered")
            told = reply(raw.properties.get("reply_to"), raw.properties.get("correlation_id")) if self._amqp else None
            receive(raw.delivery_tag, bool(again), body, told)

        if self._inlets is not None:
            self._inlets[self._channel.channel_id] = Inlet(receive)
        self._callback = unwrap
        self._begin()

    @property
    def _consumer_tag(self) -> str:
        return f"{self.consumer}/{self._consumers}"

    def _begin(self) -> None:
        self._consumers += 1
        self._channel.basic_consume(
            self.queue, no_ack=False, callback=self._callback, consumer_tag=self._consumer_tag
        )  # fmt: skip

    def hold(self, prefetch: int) -> None:
        """Hold so many messages from now on; those that are held stay. On the event loop's thread only."""
        if not self.alive or prefetch == self.prefetch or self._callback is None:
            return
        self.prefetch = prefetch
        if self._amqp:
            # RabbitMQ asks for a consumer's bound once, when it begins.
            self._channel.basic_cancel(self._consumer_tag)
        self._channel.basic_qos(0, prefetch, False)
        if self._amqp:
            self._begin()

    def _hold(self, tag: Any) -> None:
        if self._amqp:
            self._ledger.deliver(tag)
        else:
            self._held[tag] = None

    def settle(self, *tags: Any) -> None:
        """The jobs' outcomes are stored: their messages may go with the next flush."""
        with self._guard:
            if self._amqp:
                self._ledger.settle(*tags)
            else:
                self._settled.extend(tags)

    def flush(self) -> None:
        """Acknowledge what is settled; on the event loop's thread only."""
        if not self.alive:
            return
        if not self._amqp:
            with self._guard:
                settled, self._settled = self._settled, []
            if done := [tag for tag in settled if self._held.pop(tag, self) is None]:
                self._channel.ack_all(done)
            return
        with self._guard:
            up_to, singles = self._ledger.flush()
        if up_to is not None:
            self._channel.basic_ack(up_to, multiple=True)
        for tag in singles:
            self._channel.basic_ack(tag)

    def give_back(self, tag: Any) -> None:
        """Return a message to its queue; on the event loop's thread only."""
        if not self.alive:
            return
        with self._guard:
            if self._amqp:
                self._ledger.forget(tag)
            else:
                self._held.pop(tag, None)
        self._channel.basic_reject(tag, requeue=True)

    def renew(self) -> None:
        """Embedded: say that the messages held are still worked on, so that no one else is given them."""
        if self._amqp or not self.alive or not self._held:
            return
        now = time.time()
        # A connection of its own: the channel's is waiting for the answer of a BRPOP.
        with self._channel.conn_or_acquire() as client:
            client.zadd(self._channel.unacked_index_key, dict.fromkeys(self._held, now), xx=True)

    def cancel(self) -> None:
        """Take no more; what was delivered stays ours."""
        if self.alive:
            self._channel.basic_cancel(self._consumer_tag)

    def end(self) -> None:
        """Close the channel, whose connection goes on; on the event loop's thread only."""
        if self.alive:
            self.alive = False
            number = self._channel.channel_id
            self._channel.close()
            if self._inlets is not None:
                self._inlets.pop(number, None)

    def close(self) -> None:
        """Forget the channel (its connection is gone, or is about to be closed)."""
        self.alive = False
