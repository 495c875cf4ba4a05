"""The shards under way in an executor: which of them a slice belongs to."""

from typing import Protocol

from models.loading import LoadedModel
from storage.objects import Objects
from tasks import message as messages
from workers import wire


class Run(Protocol):
    def go_on(self) -> wire.Sliced: ...
    def close(self) -> None: ...


class Shards:
    """By job and token. Not thread-safe."""

    def __init__(self, model: LoadedModel, objects: Objects) -> None:
        self._model = model
        self._objects = objects
        self._runs: dict[tuple[str, int], Run] = {}

    def run(self, order: wire.Slice) -> wire.Sliced:
        """Do what a slice asks for; raises KeyError for a shard that was never begun."""
        shard = order.id, order.token
        if order.drop:
            self._runs.pop(shard).close()
            return wire.Sliced()
        if order.body:
            self._runs[shard] = self._begin(order)
        told = self._runs[shard].go_on()
        if told.result is not None:
            del self._runs[shard]
        return told

    def _begin(self, order: wire.Slice) -> Run:
        # A leaf: an executor that never sees a shard does not pay for pyarrow.
        from workers.shardrun import ShardRun

        return ShardRun(self._model, self._objects, messages.decode(order.body), order.token)
