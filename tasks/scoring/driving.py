"""One scoring on its way: validated, run, merged. Whoever takes it up goes on where it was noted to be."""

import logging
import threading
from collections.abc import Callable

import msgspec

from errors import Away, PenstockError
from storage.driven import Hold, LeaseLost
from storage.scoring import ENDED, Estimate, ScoringStatus
from tasks.scoring import pacing
from tasks.scoring.bell import Bell
from tasks.scoring.cutting import count, cuts, look
from tasks.scoring.ending import Ending
from tasks.scoring.index import Index
from tasks.scoring.jobs import ShardJobs
from tasks.scoring.ledger import Ledger
from tasks.scoring.parts import Parts, Stopped, Watch
from tasks.scoring.running import Running
from tasks.scoring.shard import Places
from tasks.scoring.sources import Source, open_source

log = logging.getLogger(__name__)

#: Seconds before another go where a part of the farm is away.
AWAY_S = 1.0
#: Goes that may end in a mistake of ours before the scoring fails by it.
MISTAKES = 3


class Driver:
    """Drives the scoring of one lease."""

    def __init__(self, hold: Hold, parts: Parts, stop: threading.Event) -> None:
        self._hold = hold
        self._parts = parts
        self._watch = Watch(hold, stop)
        self._bell = Bell(parts.client, hold.id)
        self._mistakes = 0

    def drive(self) -> None:
        """Until its end, or until this process is not to go on."""
        try:
            while not self._go():
                pass
        except Stopped:
            self._release()
        except LeaseLost:
            log.warning("another process drives the scoring", extra={"scoring": self._hold.id})
        finally:
            self._watch.close()
            self._bell.close()

    def _release(self) -> None:
        try:
            self._hold.release()
        except (LeaseLost, PenstockError) as error:
            log.info("a scoring's lease is left to run out", extra={"reason": str(error)})

    def _go(self) -> bool:
        """One step from what is noted; whether that was the last."""
        try:
            ledger = self._ledger()
            if ledger.status in ENDED:
                return True
            try:
                self._step(ledger)
            except (Away, Stopped, LeaseLost):
                raise
            except PenstockError as error:
                self._fail(ledger, error)
        except Away as error:
            log.warning("a scoring waits", extra={"scoring": self._hold.id, "reason": error.detail})
            self._watch.wait(AWAY_S)
        return False

    def _ledger(self) -> Ledger:
        state = self._hold.load()
        spec = state.scoring.spec
        return Ledger(self._hold, state, Index(self._parts.objects, Places(spec.tenant, spec.id)))

    def _step(self, ledger: Ledger) -> None:
        steps: dict[ScoringStatus, Callable[[Ledger], object]] = {
            ScoringStatus.QUEUED: lambda ledger: ledger.begin_round(),
            ScoringStatus.VALIDATING: self._validate,
            ScoringStatus.RUNNING: self._run,
            ScoringStatus.MERGING: self._end,
            ScoringStatus.CANCELING: self._end,
        }
        self._watch.check()
        try:
            steps[ledger.status](ledger)
        except (PenstockError, Stopped, LeaseLost):
            raise
        # A mistake of ours: what is noted may do better than what was in memory, but not for ever.
        except Exception as error:
            log.exception("a scoring could not go on", extra={"scoring": self._hold.id})
            self._mistakes += 1
            if self._mistakes >= MISTAKES:
                raise PenstockError("the scoring could not go on; the orchestrator's log says more") from error
            self._watch.wait(AWAY_S)

    def _fail(self, ledger: Ledger, error: PenstockError) -> None:
        """For good: what is done is merged all the same."""
        log.warning("a scoring fails", extra={"scoring": self._hold.id, "code": error.code, "reason": error.detail})
        problem = msgspec.json.encode(error.problem())
        if ledger.status is ScoringStatus.RUNNING:
            ledger.move(ScoringStatus.MERGING, verdict=ScoringStatus.FAILED, error=problem)
        elif ledger.status is ScoringStatus.CANCELING:
            ledger.move(ScoringStatus.CANCELED, error=problem)
        else:
            ledger.move(ScoringStatus.FAILED, error=problem)

    # -- the steps ----------------------------------------------------------------------------------------------

    def _validate(self, ledger: Ledger) -> None:
        spec = ledger.scoring.spec
        source = open_source(spec, self._parts.objects, self._parts.settings)
        total = look(spec, source)
        if spec.dry_run:
            rows = total if total >= 0 else count(spec, source, self._watch.check)
            estimate = self._estimate(ledger, source, rows)
            ledger.move(ScoringStatus.COMPLETED, total=rows, estimate=msgspec.json.encode(estimate))
        elif ledger.round == 1 and total >= 0:
            ledger.move(ScoringStatus.RUNNING, total=total)
        else:
            ledger.move(ScoringStatus.RUNNING)

    def _estimate(self, ledger: Ledger, source: Source, rows: int) -> Estimate:
        """What a run would take, from what rows took so far and the executors that are there now."""
        spec, workers = ledger.scoring.spec, self._parts.workers
        sample = next(cuts(spec, source, shard_rows=spec.max_items), None)
        table = sample.rows if sample else None
        row_bytes = table.nbytes / table.num_rows if table is not None and table.num_rows else 0.0
        row_ms = pacing.cost_ms(workers.figures([(spec.pool, spec.model, spec.version)])[0])
        if spec.shard_rows or row_ms is None:
            each = pacing.whole_batches(spec.shard_rows or spec.max_items, spec.max_items)
        else:
            each = pacing.shard_rows(row_ms, row_bytes=row_bytes, max_items=spec.max_items)
        there = pacing.executors(workers.all(), pool=spec.pool, model=spec.model, version=spec.version)
        return Estimate(
            rows=rows, shards=-(-rows // each), bytes=round(rows * row_bytes),
            seconds=rows * row_ms / 1000 / there if row_ms is not None and there else None,
        )  # fmt: skip

    def _run(self, ledger: Ledger) -> None:
        Running(ledger, self._parts, self._jobs_of(ledger), self._watch, self._bell).run()

    def _end(self, ledger: Ledger) -> None:
        Ending(ledger, self._parts, self._jobs_of(ledger), self._watch, self._bell).run()

    def _jobs_of(self, ledger: Ledger) -> ShardJobs:
        return ShardJobs(ledger.scoring.spec, self._parts.jobs, self._parts.publisher, self._parts.signing)
