"""What the broker holds: one exchange for jobs, three lanes a model version and pool, one place for the dead.

Declared by `penstock topology`, by each worker for its models, and by a gateway's publisher; declaring
twice is harmless as all of them read it from here.
"""

from collections.abc import Iterable
from typing import Any

from kombu import Connection, Exchange, Queue

EXCHANGE = "penstock.jobs"
DEAD_EXCHANGE = "penstock.dead"
DEAD_QUEUE = "penstock.dead"
#: Answers to who pushed jobs: a routing key is what a message named in `reply-to`. Workers may publish to it, and to
#: no queue by its name, so that no message makes them write into a queue that nobody bound for that.
REPLY_EXCHANGE = "penstock.replies"
#: Deliveries after which the broker gives a message up. The last resort: the worker counts losses itself and
#: gives up earlier, but a consumer that dies is charged for everything it had prefetched.
DELIVERY_LIMIT = 100
#: Messages a lane holds; the gateway's own limit (the manifest's `limits.queue`) answers first, with 429.
MAX_LENGTH = 1_000_000

_jobs = Exchange(EXCHANGE, type="topic", durable=True)
_replies = Exchange(REPLY_EXCHANGE, type="direct", durable=True)
_dead = Exchange(DEAD_EXCHANGE, type="fanout", durable=True)


def lane_queue(name: str) -> Queue:
    arguments: dict[str, Any] = {
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": DEAD_EXCHANGE,
        "x-dead-letter-strategy": "at-least-once",
        # reject-publish is also what at-least-once dead lettering requires.
        "x-overflow": "reject-publish",
        "x-max-length": MAX_LENGTH,
    }
    return Queue(name, exchange=_jobs, routing_key=name, durable=True, queue_arguments=arguments)


def dead_queue() -> Queue:
    return Queue(DEAD_QUEUE, exchange=_dead, routing_key="", durable=True, queue_arguments={"x-queue-type": "quorum"})


def declare(connection: Connection, queues: Iterable[str]) -> list[str]:
    """Declare everything the queues named need; returns the names declared."""
    names = []
    with connection.channel() as channel:
        for queue in (dead_queue(), *map(lane_queue, queues)):
            queue(channel).declare()
            names.append(queue.name)
    return names


def declare_replies(connection: Connection) -> None:
    """What answers to pushed jobs go by; on the embedded store nobody is answered."""
    if is_amqp(connection):
        with connection.channel() as channel:
            _replies(channel).declare()


def depth(connection: Connection, queue: str) -> int:
    """Messages that lie ready in a queue, those in consumers' hands not counted.

    0 where there is no such queue: on the embedded store an empty queue is none.
    """
    channel = connection.channel()
    try:
        count = int(channel.queue_declare(queue, passive=True).message_count)
    except connection.channel_errors:
        count = 0
    # Not where no answer came: to close it would be to wait for another one.
    channel.close()
    return count


def is_amqp(connection: Connection) -> bool:
    """True on RabbitMQ; False on the embedded store, where a queue is a Redis list."""
    return bool(connection.transport.driver_type == "amqp")
