"""How many rows the next shard has: one batch until some have run, then about a second of what such rows took.

Rows of a table cost far less than those of single jobs, so what the model's statistics hold says little of them.
"""

from statistics import median

from tasks.scoring import pacing
from tasks.scoring.ledger import Ledger
from tasks.scoring.shard import Result, Shard

#: A shard that is so many times off is worth another decision.
OFF_TIMES = 2


class Sizing:
    """Of one go at a round. What is decided is noted before a shard is cut by it; what was cut stays as it is."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._spec = ledger.scoring.spec
        #: Milliseconds of a row in each of the last shards that had their full size.
        self._measured: list[float] = []
        #: What a row of this table takes an executor, milliseconds; None: none has run since this go began.
        self.row_ms: float | None = None

    def begin(self) -> None:
        """What was asked for needs no measure; raises as `Ledger.decide`."""
        if self._spec.shard_rows and not self._ledger.shard_rows:
            self._ledger.decide(pacing.whole_batches(self._spec.shard_rows, self._spec.max_items))

    def rows(self) -> int:
        """Of the shard that is cut next. Called by the thread that cuts."""
        return self._ledger.shard_rows or self._spec.max_items

    def ended(self, shard: Shard, result: Result) -> None:
        """Learn of a shard that has run; raises as `Ledger.decide`."""
        now, spent_ms = self._ledger.shard_rows, result.spent_ms or result.compute_ms
        if shard.rows and spent_ms:
            self.row_ms = spent_ms / shard.rows
        if self._spec.shard_rows or self.row_ms is None:
            return
        if not now:
            self._ledger.decide(self._wanted(self.row_ms))
        elif OFF_TIMES * shard.rows >= now:
            # The first batches of all pay for what is done once.
            self._measured.append(self.row_ms)
            if len(self._measured) == pacing.LEAST:
                wanted = self._wanted(median(self._measured))
                self._measured.clear()
                if max(wanted, now) >= OFF_TIMES * min(wanted, now):
                    self._ledger.decide(wanted)

    def _wanted(self, row_ms: float) -> int:
        return pacing.shard_rows(row_ms, max_items=self._spec.max_items)
