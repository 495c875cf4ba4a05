"""How much a model's memory holds at once, learned from the batches that it did not hold.

The largest load (rows times the weight of the heaviest) that is run stays below what failed, and rises slowly again:
memory that others took may be free tomorrow, and an attempt that fails costs a batch run twice.
"""

import sys
from collections.abc import Sequence

#: Chunks that must hold at the ceiling before it rises by an eighth; doubles with each failure, up to the second.
RISE_AFTER, RISE_AFTER_MOST = 32, 4096
#: No bound.
OPEN = sys.maxsize


class Ceiling:
    """Starts open. Pure; not thread-safe."""

    def __init__(self) -> None:
        #: The largest load to run.
        self.most = OPEN
        self._largest_held = 1
        self._held = 0
        self._rise_after = RISE_AFTER

    def learn(self, failed: Sequence[int], held: Sequence[int]) -> None:
        """What became of the chunks of one batch, by load: those that did not fit, and those that did."""
        if failed:
            self._fall(min(failed))
        for load in held:
            self._largest_held = max(self._largest_held, load)
            self._held += load >= self.most - self.most // 8
        if self._held >= self._rise_after:
            self._held = 0
            self.most += max(1, self.most // 8)

    def _fall(self, failed: int) -> None:
        if self._largest_held >= failed:
            # There was more memory then.
            self._largest_held = 1
        self.most = min(self.most, max(failed // 2, self._largest_held))
        self._held = 0
        self._rise_after = min(2 * self._rise_after, RISE_AFTER_MOST)
