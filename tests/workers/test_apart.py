"""Jobs that have lost several workers run alone, and their batch goes on without them."""

import threading
from typing import Any, cast

import msgspec

from models.manifest import Batching, Manifest, Tensor
from storage.jobs import Claim, Verdict
from storage.statistics import Recorder
from tasks.message import VERSION, Message
from workers.batcher import Batcher, Limits
from workers.dispatcher import Dispatcher, Shared
from workers.hands import Hands
from workers.lane import Delivery, Lane
from workers.stepping import Work

MANIFEST = Manifest(
    name="echo", runtime="python", inputs=(Tensor("x", "FP32", (-1, 4)),), outputs=(Tensor("y", "FP32", (-1, 4)),),
    batching=Batching(max_items=8),
)  # fmt: skip


class AnyLane:
    """Of a lane, all that a batch needs."""

    name = "normal"


class Claims:
    """Claims whatever it is given; `alone` must run alone."""

    def __init__(self, *alone: str) -> None:
        self._alone = alone

    def claim(self, batch: list[Delivery]) -> list[Delivery]:
        for job in batch:
            job.claim = job.claim or Claim(Verdict.RUN, 1, 0, job.id in self._alone)
        return batch


def deliveries(*ids: str) -> list[Work]:
    found: list[Work] = []
    for id in ids:
        message = Message(v=VERSION, id=id, model="echo", version="1", inputs=msgspec.Raw(b"{}"))
        found.append(Delivery(cast(Lane, AnyLane()), 1, message.encode(), message, redelivered=True))
    return found


def dispatcher(*alone: str) -> tuple[Dispatcher, Batcher[Work]]:
    batcher: Batcher[Work] = Batcher(Limits(8))
    shared = Shared(
        manifest=MANIFEST, batcher=batcher, hands=Hands(), committer=cast(Any, None), recorder=Recorder(),
        stopping=threading.Event(), flush=lambda: None, ran=lambda batch, done: None, sliced=lambda told: None,
        lost=lambda reason: None,
    )  # fmt: skip
    return Dispatcher(cast(Any, None), cast(Any, Claims(*alone)), shared), batcher


def ids(batch: list[Work]) -> list[str]:
    return [work.id for work in batch]


def test_suspects_leave_their_batch_and_come_next_one_by_one() -> None:
    one, batcher = dispatcher("b", "d")
    run = one._prepare(deliveries("a", "b", "c", "d"))
    assert run is not None
    assert ids(run.batch) == ["a", "c"]
    alone = [batcher.take(), batcher.take()]
    assert [ids(batch) for batch in alone] == [["b"], ["d"]]
    again = one._prepare(alone[0])
    assert again is not None
    assert ids(again.batch) == ["b"], "it is not put off again"


def test_suspect_that_is_alone_already_runs_at_once() -> None:
    one, batcher = dispatcher("a")
    run = one._prepare(deliveries("a"))
    assert run is not None
    assert (ids(run.batch), len(batcher)) == (["a"], 0)


def test_batch_of_nothing_but_suspects_runs_later() -> None:
    one, batcher = dispatcher("a", "b")
    assert one._prepare(deliveries("a", "b")) is None
    assert len(batcher) == 2
