"""The dispatcher between a shard's slices: whose turn it is, and what a lost executor means for the shard."""

import threading
from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec
import pytest

from models.manifest import Batching, Manifest, Tensor
from storage.jobs import Claim, Standing, Verdict
from storage.statistics import Recorder
from tasks.message import VERSION, Lane, Message, Shard
from workers import lane, slicing, wire
from workers.batcher import LOW_EVERY, Batcher, Limits
from workers.dispatcher import Dispatcher, Shared
from workers.executor import ExecutorDied, ExecutorHung
from workers.hands import Hands
from workers.lane import Delivery
from workers.stepping import Work

MANIFEST = Manifest(
    name="echo", runtime="python", inputs=(Tensor("x", "FP32", (-1, 4)),), outputs=(Tensor("y", "FP32", (-1, 4)),),
    batching=Batching(max_items=8),
)  # fmt: skip


class AnyLane:
    alive = True

    def __init__(self, name: str) -> None:
        self.name = name

    def settle(self, *tags: object) -> None:
        pass


class Scripted:
    """An executor that notes what it is asked for; `slices` say what becomes of the shards, one after the other."""

    def __init__(self, *slices: Callable[[], wire.Sliced]) -> None:
        self.log: list[str] = []
        self._slices = iter(slices)

    def send_slice(self, order: wire.Slice) -> None:
        words = [f"begin {item.id}" for item in order.begin] + [f"drop {id}" for id, _ in order.drop]
        self.log.append(" ".join(words) or "go on")

    def receive_slice(self, timeout_s: float) -> wire.Sliced:
        return next(self._slices)()

    def send(self, items: Sequence[wire.Item]) -> None:
        self.log.append("run " + " ".join(item.id for item in items))
        self._last = items

    def receive(self, timeout_s: float) -> wire.Done:
        if any(item.id == "poison" for item in self._last):
            raise ExecutorDied("signal SIGSEGV")
        return wire.Done([wire.Result(outputs=b"{}") for _ in self._last], 1.0, 1.0, 1.0)

    def oversized(self) -> str:
        return ""


class Claims:
    """Claims whatever it is given; every job stands as `found`."""

    found = Standing.OURS

    def claim(self, batch: list[Delivery]) -> list[Delivery]:
        for job in batch:
            job.claim = job.claim or Claim(Verdict.RUN, 1)
        return batch

    def standing(self, held: Sequence[tuple[str, int]]) -> list[Standing]:
        return [self.found] * len(held)


class Commits:
    def __init__(self) -> None:
        self.log: list[tuple[str, str]] = []

    def commit(self, held: Any, results: Sequence[wire.Result], *, compute_ms: float) -> None:
        for (message, _), result in zip(held, results, strict=True):
            code = msgspec.json.decode(result.error)["code"] if result.error else f"done in {compute_ms:g} ms"
            self.log.append((message.id, code))


class Desk:
    """A dispatcher with everything around it in reach."""

    def __init__(self, *slices: Callable[[], wire.Sliced]) -> None:
        self.executor, self.claims, self.commits = Scripted(*slices), Claims(), Commits()
        self.batcher: Batcher[Work] = Batcher(Limits(8))
        self.hands, self.recorder, self.stopping = Hands(), Recorder(), threading.Event()
        self.rows = 0
        self.lost: list[str] = []
        self.dispatcher = self.other(self.executor)

    def other(self, executor: Scripted) -> Dispatcher:
        """A dispatcher of the same jobs with another executor."""
        shared = Shared(
            manifest=MANIFEST, batcher=self.batcher, hands=self.hands, committer=cast(Any, self.commits),
            recorder=self.recorder, stopping=self.stopping, flush=lambda: None, ran=lambda batch, done: None,
            sliced=self.sliced, lost=self.lost.append,
        )  # fmt: skip
        return Dispatcher(cast(Any, executor), cast(Any, self.claims), shared)

    def sliced(self, told: wire.Sliced) -> None:
        self.rows += told.rows

    def put(self, id: str, where: Lane, *, shard: bool = False) -> None:
        message = Message(
            v=VERSION, id=id, model="echo", version="1", inputs=msgspec.Raw(b"{}"), priority=where,
            shard=Shard("local/r", "local/o") if shard else None,
        )  # fmt: skip
        delivery = Delivery(cast(lane.Lane, AnyLane(where)), id, message.encode(), message, redelivered=False)
        self.hands.take_in(delivery)
        self.batcher.put(where, delivery)

    def end(self, *ids: str, last: bool = False) -> Callable[[], wire.Sliced]:
        """A slice in which shards end; the last one, after which there is no more to do."""

        def slice() -> wire.Sliced:
            if last:
                self.batcher.close()
            ends = [wire.ShardEnd(id, 1, wire.Result(outputs=b"{}"), 8.0) for id in ids]
            return wire.Sliced(rows=1, batches=1, compute_ms=2.0, ended=ends, wants=not last)

        return slice

    def close(self) -> wire.Sliced:
        """The last slice of the only shard."""
        return self.end("shard", last=True)()

    def more(self, *jobs: tuple[str, Lane], shard: bool = False, wants: bool = False) -> Callable[[], wire.Sliced]:
        """A slice, during which jobs arrive."""

        def slice() -> wire.Sliced:
            for id, where in jobs:
                self.put(id, where, shard=shard)
            return wire.Sliced(rows=2, batches=1, compute_ms=3.0, wants=wants)

        return slice


def raising(error: Exception) -> Callable[[], wire.Sliced]:
    def slice() -> wire.Sliced:
        raise error

    return slice


def run(desk: Desk, *slices: Callable[[], wire.Sliced]) -> None:
    desk.executor._slices = iter(slices)
    desk.put("shard", "low", shard=True)
    desk.dispatcher.work()


def test_job_that_comes_during_a_slice_runs_before_the_next_one() -> None:
    desk = Desk()
    run(desk, desk.more(("a", "normal"), ("b", "low"), ("c", "high")), desk.more(("d", "high")), desk.close)
    assert desk.executor.log == ["begin shard", "run c a", "go on", "run d", "go on"]
    assert desk.commits.log[-1] == ("shard", "done in 8 ms")
    assert [d.id for d in desk.hands._held.values()] == ["b"]
    assert desk.rows == 5
    figures = desk.recorder.take()
    assert (figures["rows"], figures["batches"]) == (5 + 3, 3 + 2)


def test_shard_gets_its_share_however_much_else_there_is() -> None:
    desk = Desk()
    flood: list[tuple[str, Lane]] = [(f"j{n}", "high") for n in range(8 * 3 * LOW_EVERY)]
    run(desk, desk.more(*flood), *[desk.more()] * 2, desk.close)
    begun = [n for n, word in enumerate(desk.executor.log) if not word.startswith("run")]
    assert begun == [0, LOW_EVERY, 2 * LOW_EVERY, 3 * LOW_EVERY]


def test_other_shards_wait_until_this_one_is_nearly_done() -> None:
    desk = Desk()
    run(
        desk, desk.more(("next", "low"), ("third", "low"), shard=True), desk.more(wants=True), desk.more(),
        desk.end("shard"), desk.end(), desk.end("next"), desk.end("third", last=True),
    )  # fmt: skip
    assert desk.executor.log == ["begin shard", "go on", "go on", "begin next", "go on", "begin third", "go on"]
    assert [id for id, _ in desk.commits.log] == ["shard", "next", "third"]


def test_older_job_of_a_low_lane_goes_before_the_next_shard() -> None:
    desk = Desk()
    run(
        desk, desk.more(("job", "low"), wants=True), desk.more(("next", "low"), shard=True, wants=True),
        desk.end("shard"), desk.end("next", last=True),
    )  # fmt: skip
    assert desk.executor.log == ["begin shard", "go on", "go on", "run job", "begin next"]


@pytest.mark.parametrize(
    ("error", "code"), [(ExecutorDied("signal SIGSEGV"), "worker_lost"), (ExecutorHung("no answer"), "timed_out")]
)
def test_shard_that_takes_its_executor_down_runs_once_more_and_then_fails(error: Exception, code: str) -> None:
    desk = Desk()
    run(desk, raising(error))
    assert desk.commits.log == []
    second = Scripted(desk.more(("a", "normal")), raising(error))
    desk.other(second).work()
    assert second.log == ["begin shard", "run a", "go on"]
    assert desk.commits.log == [("a", "done in 1 ms"), ("shard", code)]
    assert len(desk.lost) == 2
    assert len(desk.hands) == 0


def test_shards_that_take_an_executor_down_together_are_each_begun_alone() -> None:
    desk = Desk()
    run(desk, desk.more(("next", "low"), shard=True, wants=True), desk.more(), raising(ExecutorDied("signal SIGSEGV")))
    assert desk.executor.log == ["begin shard", "go on", "begin next"]
    other = Scripted(desk.more(wants=True), desk.end("shard"), raising(ExecutorDied("signal SIGSEGV")))
    desk.other(other).work()
    assert other.log == ["begin shard", "go on", "begin next"]
    assert desk.commits.log == [("shard", "done in 8 ms"), ("next", "worker_lost")]


def test_shard_whose_executor_another_job_took_down_is_innocent() -> None:
    desk = Desk()
    for _ in range(3):
        run(desk, desk.more(("poison", "normal")))
        # Alone, the second time, it has its verdict; the shard still waits at the front.
        desk.other(Scripted()).work()
        desk.dispatcher = desk.other(desk.executor)
        (shard,) = desk.batcher.empty()
        assert (shard.id, shard.deaths) == ("shard", 0)
        desk.hands.let_go(cast(Any, [shard]))
    assert [code for _, code in desk.commits.log] == ["worker_lost"] * 3


def test_stop_gives_the_shard_back_at_the_end_of_its_slice() -> None:
    desk = Desk()

    def stop() -> wire.Sliced:
        desk.stopping.set()
        desk.batcher.close()
        return wire.Sliced(rows=2, batches=1)

    run(desk, stop)
    assert desk.executor.log == ["begin shard"]
    assert [d.id for d in desk.hands.left] == ["shard"]
    assert desk.commits.log == []


@pytest.mark.parametrize("standing", [Standing.CANCELED, Standing.LOST])
def test_shard_that_nobody_wants_any_more_is_dropped_between_slices(
    standing: Standing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slicing, "LOOK_S", 0.0)
    desk = Desk()

    def canceled() -> wire.Sliced:
        desk.claims.found = standing
        desk.batcher.close()
        return wire.Sliced(rows=2, batches=1)

    run(desk, canceled, desk.end())
    assert desk.executor.log == ["begin shard", "drop shard"]
    # The commit is refused, or makes it a canceled one: the record knows why.
    assert desk.commits.log == [("shard", "worker_lost")]
    assert len(desk.hands) == 0
