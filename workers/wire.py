"""What travels on the pipe between a worker and an executor: MessagePack, never a pickle.

Jobs go down as the queue message's own bytes and outcomes come back as JSON, so the worker's process never parses
an input or an output; whatever is large lies in the object store and is read and written by the executor itself.
"""

from multiprocessing.connection import Connection

import msgspec


class Spec(msgspec.Struct, frozen=True):
    """What an executor is to load: sent first."""

    repository: str
    model: str
    version: str
    device: str
    objects_url: str


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """Loaded and warmed up."""

    load_ms: float


class LoadFailed(msgspec.Struct, frozen=True, tag="load_failed"):
    reason: str


class Item(msgspec.Struct, frozen=True):
    """One job of a batch."""

    id: str
    token: int
    #: The queue message, JSON.
    body: bytes


class Batch(msgspec.Struct, frozen=True):
    items: list[Item]


class Result(msgspec.Struct, frozen=True, omit_defaults=True):
    """One job's end: outputs inline or under a key, or an error."""

    outputs: bytes = b""
    outputs_key: str = ""
    #: A problem document, JSON; empty where the job succeeded.
    error: bytes = b""
    #: Whether another attempt could help.
    retryable: bool = False
    #: Whether the attempt counts against the job's `max_attempts`.
    charged: bool = True


class Done(msgspec.Struct, frozen=True, tag="done"):
    results: list[Result]
    compute_ms: float


Reply = Ready | LoadFailed | Done

_encoder = msgspec.msgpack.Encoder()
_spec = msgspec.msgpack.Decoder(Spec)
_batch = msgspec.msgpack.Decoder(Batch)
_reply = msgspec.msgpack.Decoder(Reply)


def send(pipe: Connection, message: Spec | Batch | Reply) -> None:
    pipe.send_bytes(_encoder.encode(message))


def receive_spec(pipe: Connection) -> Spec:
    return _spec.decode(pipe.recv_bytes())


def receive_batch(pipe: Connection) -> Batch:
    """Raises EOFError when the worker has gone."""
    return _batch.decode(pipe.recv_bytes())


def receive_reply(pipe: Connection) -> Reply:
    """Raises EOFError when the executor has gone."""
    reply: Reply = _reply.decode(pipe.recv_bytes())
    return reply
