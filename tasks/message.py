"""The queue message: JSON under a versioned schema that any AMQP client can write (docs/messages.md)."""

import random
import time
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from ulid import ULID

from errors import Fault, InvalidInput, MalformedBody
from storage.job import RESULT_TTL_S, NewJob

#: The schema's version; a message of another one is refused by the worker.
VERSION = 1
CONTENT_TYPE = "application/json"

Lane = Literal["high", "normal", "low"]
#: Lanes in the order they are served; three queues, since quorum queues know no priorities before RabbitMQ 4.3.
LANES: tuple[Lane, ...] = ("high", "normal", "low")

#: Names that become part of a queue's, a key's or an object's name.
Name = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9_-]{0,127}\Z")]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=30 * 86400)]


class Webhook(msgspec.Struct, frozen=True, omit_defaults=True):
    url: str
    events: tuple[str, ...] = ("job.completed",)


class Shard(msgspec.Struct, frozen=True):
    """Rows of a table in place of `inputs`: an Arrow file in the object store (docs/messages.md)."""

    #: Keys: the rows, and where their outputs go. Both begin with the message's tenant and `/`.
    rows: Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]
    output: Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]
    #: The scoring it is part of, which hears of its end; empty: a job like any other.
    scoring: str = ""


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One job as it lies in the queue. `inputs` stays raw JSON until an executor reads it."""

    v: int
    id: Name
    model: Name
    #: The concrete version; a job is pinned to one when it is accepted.
    version: Name
    inputs: msgspec.Raw
    pool: Name = "cpu"
    priority: Lane = "normal"
    tenant: Name = "local"
    parameters: dict[str, Any] = {}
    #: Milliseconds since the epoch; 0: the worker takes the time it sees the message first.
    created_ms: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 0
    queue_ttl_s: Seconds | None = None
    #: None: the model's own limit.
    timeout_s: Seconds | None = None
    #: Not started by then (RFC 3339): expired.
    deadline: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    max_attempts: Annotated[int, msgspec.Meta(ge=1, le=100)] = 3
    result_ttl_s: Annotated[int, msgspec.Meta(ge=1, le=30 * 86400)] = RESULT_TTL_S
    metadata: dict[str, Any] = {}
    webhook: Webhook | None = None
    traceparent: str = ""
    #: Rows of the job, where the sender counted them.
    rows: Annotated[int, msgspec.Meta(ge=1, le=2**31)] = 1
    #: What the heaviest row weighs by the model's `batching.weight`; 0: not told, it counts as 1.
    weight: Annotated[int, msgspec.Meta(ge=0, le=2**31)] = 0
    #: Sizes of the axes that the model leaves open and does not pad: jobs of one shape go into a batch together.
    shape: Annotated[str, msgspec.Meta(max_length=128)] = ""
    #: Rows that lie in an object; then `inputs` is `{}`.
    shard: Shard | None = None

    @property
    def queue(self) -> str:
        return queue_name(self.pool, self.model, self.version, self.priority)

    def encode(self) -> bytes:
        return _encoder.encode(self)

    def start_by_ms(self, now_ms: int) -> int:
        """When the job must have started: the earlier of its queue TTL and its deadline, or 0."""
        limits = []
        if self.queue_ttl_s is not None:
            limits.append(now_ms + round(self.queue_ttl_s * 1000))
        if self.deadline is not None:
            limits.append(round(self.deadline.timestamp() * 1000))
        return min(limits, default=0)

    def record(self, body: bytes, *, now_ms: int) -> NewJob:
        """The job record that belongs to this message, whose encoded form is `body`."""
        created = self.created_ms or now_ms
        return NewJob(
            id=self.id,
            tenant=self.tenant,
            queue=self.queue,
            message=body,
            created_ms=created,
            start_by_ms=self.start_by_ms(created),
            result_ttl_s=self.result_ttl_s,
            webhook=" ".join(self.webhook.events) if self.webhook else "",
            scoring=self.shard.scoring if self.shard else "",
        )


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Message)


def queue_name(pool: str, model: str, version: str, lane: str) -> str:
    """Routing key and queue name of one lane."""
    return f"{pool}.{model}.{version}.{lane}"


def new_id() -> str:
    """A job id: sorts by time (ULID)."""
    # An id is no secret, and os.urandom would let go of Python's lock, which a busy process waits long to get back.
    bits = time.time_ns() // 1_000_000 << 80 | random.getrandbits(80)  # nosec B311 # ids give no access
    return "job_" + str(ULID(bits.to_bytes(16, "big")))


def decode(body: bytes) -> Message:
    """Read a message; raises MalformedBody when it is no JSON, InvalidInput when the schema forbids it."""
    try:
        message = _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"the message does not fit schema version {VERSION}: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedBody(f"the message is not JSON: {error}") from error
    if message.v != VERSION:
        raise InvalidInput(f"message schema version {message.v} is not {VERSION}", faults=[Fault("#/v", "unknown")])
    return message


def readable(body: bytes) -> Message | None:
    """The message; None where there is none, or one that cannot be read: of another schema version, say."""
    try:
        return decode(body) if body else None
    except (InvalidInput, MalformedBody):
        return None


def without_inputs(body: bytes) -> bytes:
    """What of a message outlives its job's erasure, encoded; nothing where it cannot be read."""
    message = readable(body)
    if message is None:
        return b""
    return msgspec.structs.replace(message, inputs=msgspec.Raw(b"{}"), parameters={}).encode()


def wrong_queue(message: Message, queue: str) -> InvalidInput:
    """The error for a message that names another queue than the one it came from."""
    return InvalidInput(f"the message was found in queue {queue!r} but says it belongs to {message.queue!r}")
