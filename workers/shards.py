"""The shards under way in an executor. One is computed at a time; another's rows come, or its outputs go, meanwhile."""

from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from time import perf_counter
from typing import Any, Protocol

from models.loading import LoadedModel
from storage.objects import Objects
from tasks import message as messages
from workers import wire
from workers.spent import Spent

#: How long a slice goes on taking micro-batches, seconds: what it costs to ask for one is far less, and an
#: interactive job that comes meanwhile hardly notices.
SLICE_S = 0.010
#: Another shard is asked for when no more is left to compute, milliseconds: time to claim it and to fetch its rows.
SOON_MS = 100.0


class Run(Protocol):
    pending: Future[Any] | None
    compute_ms: float

    def nearly_done(self, within_ms: float) -> bool: ...
    def step(self) -> wire.Result | None: ...


class Shards:
    """By job and token, in the order in which they began. Not thread-safe."""

    def __init__(self, model: LoadedModel, objects: Objects) -> None:
        self._model = model
        self._objects = objects
        self._files = ThreadPoolExecutor(2, thread_name_prefix="shard-files")
        self._runs: dict[tuple[str, int], Run] = {}
        self._spent = Spent()
        self._ended: list[wire.ShardEnd] = []

    def run(self, order: wire.Slice) -> wire.Sliced:
        """Go on for a moment; raises KeyError for a shard that is not under way."""
        until_s = perf_counter() + SLICE_S
        for shard in order.drop:
            del self._runs[shard]
        for item in order.begin:
            self._runs[item.id, item.token] = self._begin(item)
            # What it waits for first is on its way from here on.
            self._step(item.id, item.token)
        while self._runs and (left_s := until_s - perf_counter()) > 0:
            ready = [shard for shard, run in self._runs.items() if run.pending is None or run.pending.done()]
            if ready:
                self._step(*ready[0])
            else:
                waited = [run.pending for run in self._runs.values() if run.pending is not None]
                wait(waited, timeout=left_s, return_when=FIRST_COMPLETED)
        return self._told()

    def _step(self, id: str, token: int) -> None:
        run = self._runs[id, token]
        result = run.step()
        if result is not None:
            self._ended.append(wire.ShardEnd(id, token, result, run.compute_ms))
            del self._runs[id, token]

    def _told(self) -> wire.Sliced:
        wants = all(run.nearly_done(SOON_MS) for run in self._runs.values())
        rows, batches, stages = self._spent.take()
        ended, self._ended = self._ended, []
        return wire.Sliced(
            rows, batches, stages["decode"], stages["compute"], stages["encode"], ended, wants
        )  # fmt: skip

    def _begin(self, item: wire.Item) -> Run:
        # A leaf: an executor that never sees a shard does not pay for pyarrow.
        from workers.shardrun import ShardRun

        message = messages.decode(item.body)
        return ShardRun(self._model, self._objects, self._files, self._spent, message, item.token)
