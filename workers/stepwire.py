"""What travels on the pipe between a worker and a pipeline's process: jobs and steps' results down, calls and ends up.

As on an executor's pipe (`workers.wire`), MessagePack and shared memory; unlike there, either side speaks when it has
something to say, and many jobs are under way at once. The worker passes tensors on without looking inside.
"""

from collections.abc import Iterable
from multiprocessing.connection import Connection
from typing import TypeVar

import msgspec

from workers import segment, wire
from workers.segment import Segment
from workers.wire import Result, Tensors


class Begin(msgspec.Struct, frozen=True, tag="begin"):
    """Jobs to work on."""

    items: list[wire.Item]


class Made(msgspec.Struct, frozen=True):
    """What became of one call."""

    call: int
    result: Result
    #: The version that ran it.
    version: str = ""
    #: Until the batch began that ran it, and in that batch, milliseconds.
    queue_ms: float = 0.0
    compute_ms: float = 0.0


class Results(msgspec.Struct, frozen=True, tag="results"):
    made: list[Made]


class Drop(msgspec.Struct, frozen=True, tag="drop"):
    """Jobs that are over, whatever they have come to."""

    ids: list[str]


class Call(msgspec.Struct, frozen=True):
    """One call of a step's model, asked for."""

    #: Unique in this process.
    number: int
    job: str
    step: str
    model: str
    #: Empty: the newest that is served.
    version: str
    rows: int
    #: As `models.measuring` has them, so that the step waits among jobs that are like it.
    weight: int
    shape: str
    tensors: Tensors
    parameters: bytes


class Asked(msgspec.Struct, frozen=True, tag="asked"):
    calls: list[Call]


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """A job's end."""

    id: str
    token: int
    result: Result


Down = Begin | Results | Drop
Up = wire.Ready | wire.LoadFailed | Asked | Ended
M = TypeVar("M")

_encoder = msgspec.msgpack.Encoder(enc_hook=lambda segment: segment.size)
_down: msgspec.msgpack.Decoder[Down] = msgspec.msgpack.Decoder(Down, dec_hook=lambda _, size: Segment(size))
_up: msgspec.msgpack.Decoder[Up] = msgspec.msgpack.Decoder(Up, dec_hook=lambda _, size: Segment(size))


def send(pipe: Connection, message: Down | Up) -> None:
    """One thread at a time: descriptors follow the message that announces them."""
    pipe.send_bytes(_encoder.encode(message))
    if announced := _segments(message):
        segment.send(pipe, announced)


def receive_down(pipe: Connection) -> Down:
    """Raises EOFError when the worker has gone."""
    return _receive(pipe, _down)


def receive_up(pipe: Connection) -> Up:
    """Raises EOFError when the pipeline's process has gone."""
    return _receive(pipe, _up)


def _receive(pipe: Connection, decoder: msgspec.msgpack.Decoder[M]) -> M:
    message = decoder.decode(pipe.recv_bytes())
    if announced := _segments(message):
        segment.receive(pipe, announced)
    return message


def _segments(message: object) -> list[Segment]:
    """The message's shared memory, in its order."""
    carriers: Iterable[Tensors | None] = ()
    if isinstance(message, Asked):
        carriers = [call.tensors for call in message.calls]
    elif isinstance(message, Results):
        carriers = [made.result.tensors for made in message.made]
    return [tensors.segment for tensors in carriers if tensors is not None and tensors.segment is not None]
