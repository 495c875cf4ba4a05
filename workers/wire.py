"""What travels on the pipe between a worker and an executor: MessagePack, never a pickle.

Jobs go down as the queue message's own bytes and outcomes come back as JSON, so the worker's process never parses
an input or an output; whatever is large lies in the object store and is read and written by the executor itself.
What one model hands to another travels as tensors, the large ones in shared memory; the worker's process passes them
on without looking inside (`workers.tensors` does, in executors).
"""

from multiprocessing.connection import Connection

import msgspec

from errors import ObjectsUnavailable, PenstockError
from workers import segment
from workers.segment import Segment


class Spec(msgspec.Struct, frozen=True):
    """What an executor is to load: sent first."""

    repository: str
    model: str
    version: str
    device: str
    objects_url: str
    #: Folder for what is made once from a model's files; empty: there is none.
    cache: str = ""


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """Loaded and warmed up."""

    load_ms: float
    #: Whether its handler makes what the model takes, so that the shape of an input tells nothing about a batch.
    reshapes: bool = False


class LoadFailed(msgspec.Struct, frozen=True, tag="load_failed"):
    reason: str


class Tensor(msgspec.Struct, frozen=True, array_like=True):
    """One tensor by name: in the message itself, or at an offset of the message's segment."""

    name: str
    #: A name of `models.datatypes.DATATYPES`.
    datatype: str
    #: Its first axis counts rows. -1: the rows differ there.
    shape: tuple[int, ...]
    #: Bytes of data: little-endian elements in row-major order, or MessagePack for BYTES and JSON.
    size: int
    data: bytes = b""
    #: Where in the segment; -1: in `data`.
    offset: int = -1
    #: The shape of each row, where they differ.
    ragged: tuple[tuple[int, ...], ...] = ()


class Tensors(msgspec.Struct, frozen=True):
    """Inputs or outputs of one call of a model. May be passed on, and used again, as often as one likes."""

    tensors: tuple[Tensor, ...]
    #: Where the large ones lie.
    segment: Segment | None = None


class Item(msgspec.Struct, frozen=True, omit_defaults=True):
    """One job of a batch, or one step of a pipeline: either a queue message or tensors."""

    id: str
    token: int
    #: The queue message, JSON.
    body: bytes = b""
    #: Inputs in place of the message's.
    tensors: Tensors | None = None
    #: Beside `tensors`: parameters as a JSON object, and whose job it is.
    parameters: bytes = b"{}"
    tenant: str = ""
    #: Whether the outputs are wanted as tensors, and not as JSON.
    raw: bool = False


def length(item: Item) -> int:
    """Bytes of an item on the pipe, about; what lies in shared memory is not among them."""
    inline = sum(len(tensor.data) for tensor in item.tensors.tensors) if item.tensors else 0
    return len(item.body) + len(item.parameters) + inline


class Batch(msgspec.Struct, frozen=True, tag="batch"):
    items: list[Item]


class Slice(msgspec.Struct, frozen=True, tag="slice", omit_defaults=True):
    """Go on with the shards for a moment."""

    #: Shards to begin, each by its queue message.
    begin: list[Item] = []
    #: Shards that nobody wants any more: id and token.
    drop: list[tuple[str, int]] = []


class Result(msgspec.Struct, frozen=True, omit_defaults=True):
    """One job's end: outputs inline, under a key or as tensors, or an error."""

    outputs: bytes = b""
    outputs_key: str = ""
    tensors: Tensors | None = None
    #: A problem document, JSON; empty where the job succeeded.
    error: bytes = b""
    #: Whether another attempt could help.
    retryable: bool = False
    #: Whether the attempt counts against the job's `max_attempts`.
    charged: bool = True
    #: Of a pipeline: what its steps took, JSON.
    steps: bytes = b""
    #: Of a shard: keys of the objects that `outputs` names, or that a failure left behind.
    written: tuple[str, ...] = ()


def failure(error: PenstockError) -> Result:
    """The result of a job that failed in an executor."""
    return Result(
        error=msgspec.json.encode(error.problem()),
        retryable=error.retryable,
        # The object store being away is no fault of the job or of its model.
        charged=not isinstance(error, ObjectsUnavailable),
    )


class Done(msgspec.Struct, frozen=True, tag="done"):
    results: list[Result]
    #: Reading and preparing the inputs, the model, making and writing the outputs: milliseconds for the whole batch.
    decode_ms: float
    compute_ms: float
    encode_ms: float
    #: The heaviest batch to send from now on, by what the executor's memory held; 0: no bound.
    ceiling: int = 0

    @property
    def busy_ms(self) -> float:
        """How long the batch kept the executor."""
        return self.decode_ms + self.compute_ms + self.encode_ms


class ShardEnd(msgspec.Struct, frozen=True, omit_defaults=True):
    """One shard's end."""

    id: str
    token: int
    result: Result
    compute_ms: float = 0.0


class Sliced(msgspec.Struct, frozen=True, tag="sliced", omit_defaults=True):
    """What one slice came to."""

    #: Rows that got their outcome in it, and calls of the model.
    rows: int = 0
    batches: int = 0
    decode_ms: float = 0.0
    compute_ms: float = 0.0
    encode_ms: float = 0.0
    ended: list[ShardEnd] = []
    #: Whether there will soon be nothing to compute: another shard may begin.
    wants: bool = False

    @property
    def busy_ms(self) -> float:
        """How long it kept the executor."""
        return self.decode_ms + self.compute_ms + self.encode_ms


Order = Batch | Slice
Reply = Ready | LoadFailed | Done | Sliced

_encoder = msgspec.msgpack.Encoder(enc_hook=lambda segment: segment.size)
_spec = msgspec.msgpack.Decoder(Spec)
_order = msgspec.msgpack.Decoder(Order, dec_hook=lambda _, size: Segment(size))
_reply = msgspec.msgpack.Decoder(Reply, dec_hook=lambda _, size: Segment(size))


def send(pipe: Connection, message: Spec | Order | Reply) -> None:
    pipe.send_bytes(_encoder.encode(message))
    if announced := _segments(message):
        segment.send(pipe, announced)


def receive_spec(pipe: Connection) -> Spec:
    return _spec.decode(pipe.recv_bytes())


def receive_order(pipe: Connection) -> Order:
    """Raises EOFError when the worker has gone."""
    order: Order = _order.decode(pipe.recv_bytes())
    if announced := _segments(order):
        segment.receive(pipe, announced)
    return order


def receive_reply(pipe: Connection) -> Reply:
    """Raises EOFError when the executor has gone."""
    reply: Reply = _reply.decode(pipe.recv_bytes())
    if announced := _segments(reply):
        segment.receive(pipe, announced)
    return reply


def _segments(message: Spec | Order | Reply) -> list[Segment]:
    """The message's shared memory, in its order."""
    if isinstance(message, Batch):
        carriers = [item.tensors for item in message.items]
    elif isinstance(message, Done):
        carriers = [result.tensors for result in message.results]
    else:
        return []
    return [tensors.segment for tensors in carriers if tensors is not None and tensors.segment is not None]
