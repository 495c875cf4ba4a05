"""Bounds a batcher's batches by what earlier ones cost and by what the executor's memory held."""

from collections.abc import Sequence
from typing import Any

from workers.batcher import Batcher, Entry, load
from workers.cost import Cost
from workers.wire import Done


class Sizing:
    """Of one model version. Not thread-safe."""

    def __init__(self, batcher: Batcher[Any], *, target_ms: float | None) -> None:
        self._batcher = batcher
        self._target_ms = target_ms
        self._cost = Cost()
        self._bound: int | None = None
        if target_ms is not None:
            self._bind(self._cost.most(target_ms))

    def after(self, batch: Sequence[Entry], done: Done) -> None:
        """Learn from a batch that was run."""
        bounds = [done.ceiling] if done.ceiling else []
        if self._target_ms is not None:
            self._cost.observe(load(batch), done.busy_ms)
            bounds.append(self._cost.most(self._target_ms))
        self._bind(min(bounds, default=None))

    def _bind(self, bound: int | None) -> None:
        if bound != self._bound:
            self._bound = bound
            self._batcher.bound(bound)
