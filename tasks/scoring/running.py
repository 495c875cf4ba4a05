"""The rows of a scoring's round: cut, put out a window at a time, collected, run again where it takes that."""

import itertools
import logging
import time
from collections import deque
from collections.abc import Iterator

import msgspec

from errors import Away, ModelError, PenstockError, TooManyFailed
from storage.job import Job, Status
from storage.scoring import ScoringStatus
from tasks.scoring import pacing
from tasks.scoring.ahead import Ahead, Ready
from tasks.scoring.bell import Bell
from tasks.scoring.cutting import Cut, cuts, put_rows
from tasks.scoring.halving import failure_of, halves, problem_of, put_failures
from tasks.scoring.jobs import ShardJobs
from tasks.scoring.ledger import Ledger
from tasks.scoring.merging import failed_rows
from tasks.scoring.parts import Parts, Watch
from tasks.scoring.shard import Shard, decode_result, number_of
from tasks.scoring.sizing import Sizing
from tasks.scoring.sources import open_source

log = logging.getLogger(__name__)

#: Longest wait for the end of a shard before the status is looked at all the same, seconds.
TICK_S = 0.2
#: Seconds between two looks at the jobs that are out, and between two at the workers.
SWEEP_S, WORKERS_S = 3.0, 1.0
#: Times that a shard as a whole may lose all the workers that run it before it is halved: kills come in bursts.
LOSSES = 2
#: Rows files that may wait for their erasure: it takes long, and an executor may be idle.
DOOMED = 32
#: So many rows were run alone, and each row so far has failed: then it is not the rows.
HOPELESS = 64
#: Ends of a job that say nothing of its rows: it runs again.
AWAY = frozenset({"canceled", "expired", "attempts_exhausted", *(cls.code for cls in Away.__subclasses__())})


class Running:
    """One go at a round; raises as what it uses does: then another begins with what is noted."""

    def __init__(self, ledger: Ledger, parts: Parts, shard_jobs: ShardJobs, watch: Watch, bell: Bell) -> None:
        self._ledger = ledger
        self._parts = parts
        self._jobs = shard_jobs
        self._watch = watch
        self._bell = bell
        self._spec = ledger.scoring.spec
        self._places = ledger.places
        self._ahead: Ahead | None = None
        #: Rows that failed alone since this go began.
        self._alone = 0
        #: Keys of rows files that are needed no more.
        self._doomed: list[str] = []
        self._durations: deque[float] = deque(maxlen=32)
        self._sizing = Sizing(ledger)
        self._executors = 0
        self._workers_at = self._swept_at = float("-inf")

    def run(self) -> None:
        """Until every row has its outcome, or the status is another."""
        try:
            self._run()
        finally:
            if self._ahead is not None:
                self._ahead.close()

    def _run(self) -> None:
        ledger = self._ledger
        self._again()
        self._sizing.begin()
        while ledger.status is ScoringStatus.RUNNING:
            self._watch.check()
            ledger.status, ended = ledger.news()
            if ledger.status is not ScoringStatus.RUNNING:
                return
            self.settle(ended)
            most = self._spec.max_failed_rows
            if most is not None and ledger.failed > most:
                self._give_up(TooManyFailed(f"{ledger.failed} rows failed, and no more than {most} may"))
            elif ledger.exhausted and not ledger.open:
                ledger.move(ScoringStatus.MERGING)
            elif not self._fill():
                # Everything is out: now there is time for what nobody waits for.
                self._erase()
                self._sweep()
                self._bell.wait(TICK_S)

    def _give_up(self, error: PenstockError) -> None:
        self._ledger.move(
            ScoringStatus.MERGING, verdict=ScoringStatus.FAILED, error=msgspec.json.encode(error.problem())
        )

    # -- out ----------------------------------------------------------------------------------------------------

    def _again(self) -> None:
        """What was noted as out, and may not have got there: it is published once more."""
        for shard, suffix, job in self._out():
            if job is None or job.status is Status.QUEUED:
                self._jobs.publish(shard, [suffix])

    def _out(self) -> list[tuple[Shard, str, Job | None]]:
        wanted = [(shard, suffix) for shard in self._ledger.open for suffix in shard.out]
        jobs = self._jobs.get_all([(shard.number, suffix) for shard, suffix in wanted])
        return [(shard, suffix, job) for (shard, suffix), job in zip(wanted, jobs, strict=True)]

    def _fill(self) -> bool:
        """Put the next shard out, where there is room for it; whether there was."""
        ledger = self._ledger
        if sum(1 for shard in ledger.open if shard.out) >= self._window():
            return False
        if waiting := [shard for shard in ledger.open if not shard.out]:
            # The smallest first: few wait, however large the shard was that they are parts of.
            self._put_half_out(min(waiting, key=lambda shard: (shard.rows, shard.number)))
            return True
        if ledger.exhausted or len(ledger.shards) >= pacing.AHEAD:
            return False
        if self._ahead is None:
            self._ahead = Ahead(self._cut(), self._store)
        ready = next(self._ahead, None)
        if ready is None:
            ledger.exhaust()
        else:
            self._put_out(ready)
        return True

    def _put_half_out(self, shard: Shard) -> None:
        shard = msgspec.structs.replace(shard, out=("",))
        self._ledger.replace([], [shard])
        self._jobs.publish(shard, shard.out)

    def _store(self, cut: Cut) -> str:
        """Put a cut's rows into the store; the key. Where it is made anew after a crash, it has the same."""
        key = self._places.cut_of(cut.start, cut.end)
        put_rows(self._parts.objects, key, cut.rows)
        return key

    def _window(self) -> int:
        now = time.monotonic()
        if now - self._workers_at >= WORKERS_S:
            self._workers_at = now
            spec = self._spec
            self._executors = pacing.executors(
                self._parts.workers.all(), pool=spec.pool, model=spec.model, version=spec.version
            )
        return pacing.window(self._executors)

    def _cut(self) -> Iterator[Cut]:
        ledger = self._ledger
        only = None
        if ledger.round > 1:
            failed = (one.row for one in failed_rows(self._parts.objects, self._places.errors))
            only = itertools.dropwhile(lambda row: row < ledger.row, failed)
        source = open_source(self._spec, self._parts.objects, self._parts.settings)
        return cuts(self._spec, source, shard_rows=self._sizing.rows, from_row=ledger.row, only=only)

    def _put_out(self, ready: Ready) -> None:
        number, places, objects = self._ledger.number, self._places, self._parts.objects
        shard = Shard(number=number, start=ready.start, end=ready.end, rows=ready.rows)
        if ready.failures:
            put_failures(objects, places.unread_of(number), ready.failures)
            shard = msgspec.structs.replace(shard, unread=len(ready.failures), unread_key=places.unread_of(number))
        if not ready.rows_key:
            self._ledger.add(shard, row=ready.end)
            done = msgspec.structs.replace(shard, done=True, failed=shard.unread)
            self._ledger.replace([shard], [done])
            return
        shard = msgspec.structs.replace(shard, rows_key=ready.rows_key, out=("",))
        self._ledger.add(shard, row=ready.end)
        self._jobs.publish(shard, shard.out)

    # -- ended --------------------------------------------------------------------------------------------------

    def settle(self, ended: set[str]) -> None:
        """Shards whose jobs ended: done, or run again another way."""
        if not ended:
            return
        wanted = [number_of(id) for id in sorted(ended)]
        for (number, suffix), job in zip(wanted, self._jobs.get_all(wanted), strict=True):
            shard = self._ledger.shards.get(number)
            if shard is None or shard.done or suffix not in shard.out:
                self._late(number, suffix, job)
            elif job is None or not job.terminal:
                self._ledger.replace([], [], ended=[self._jobs.id(number, suffix)])
            elif job.status is Status.SUCCEEDED:
                self._succeeded(shard, suffix, job)
            else:
                self._failed(shard, suffix, job)

    def _succeeded(self, shard: Shard, suffix: str, job: Job) -> None:
        result = decode_result(job.outputs or b"")
        self._durations.append(job.completed_ms - job.started_ms)
        self._sizing.ended(shard, result)
        done = msgspec.structs.replace(
            shard, done=True, out=(), failed=shard.unread + result.failed, output_key=result.output,
            failures_key=result.failures,
        )  # fmt: skip
        self._ledger.replace([], [done], ended=[job.id])
        self._forget(shard, [job.id])
        for other in set(shard.out) - {suffix}:
            for loser in self._jobs.get_all([(shard.number, other)]):
                if loser is not None:
                    self._jobs.cancel(loser)

    def _failed(self, shard: Shard, suffix: str, job: Job) -> None:
        """A job that failed for good, or was canceled by nobody here."""
        left = tuple(one for one in shard.out if one != suffix)
        if left:
            self._ledger.replace([], [msgspec.structs.replace(shard, out=left)], ended=[job.id])
            self._jobs.forget([job.id])
            return
        problem = problem_of(job)
        log.warning(
            "a shard failed", extra={"scoring": self._spec.id, "job": job.id, "rows": shard.rows, "code": problem.code}
        )
        lost = problem.code == "worker_lost" and not shard.half and shard.losses < LOSSES
        whole = lost or problem.code in AWAY
        if whole:
            again = msgspec.structs.replace(shard, number=self._ledger.number, twin=False, losses=shard.losses + lost)
            new = [msgspec.structs.replace(again, out=())]
        elif shard.rows > 1:
            new = halves(self._parts.objects, self._places, shard, self._ledger.number, self._spec.max_items)
        else:
            self._poisonous(shard, job)
            return
        # They go out as soon as there is room.
        self._ledger.replace([shard], new, ended=[job.id])
        if whole:
            self._jobs.forget([job.id])
        else:
            self._forget(shard, [job.id])

    def _poisonous(self, shard: Shard, job: Job) -> None:
        """A row that fails alone fails for good."""
        places, objects = self._places, self._parts.objects
        key = f"{places.output_of(shard.number, '')}-failed.jsonl"
        put_failures(objects, key, [failure_of(job, objects, shard)])
        done = msgspec.structs.replace(shard, done=True, out=(), failed=shard.unread + 1, failures_key=key)
        self._ledger.replace([], [done], ended=[job.id])
        self._forget(shard, [job.id])
        self._alone += 1
        if self._alone >= HOPELESS and self._ledger.done == self._ledger.failed:
            problem = problem_of(job)
            self._give_up(ModelError(f"no row could be run; the last failed alone as {problem.code}: {problem.detail}"))

    def _late(self, number: int, suffix: str, job: Job | None) -> None:
        """The job of a shard that is done otherwise: nobody waits for what it stored."""
        if job is not None and job.outputs:
            result = decode_result(job.outputs)
            for key in (result.output, result.failures):
                if key:
                    self._parts.objects.delete(key)
        id = self._jobs.id(number, suffix)
        self._ledger.replace([], [], ended=[id])
        self._jobs.forget([id])

    def _forget(self, shard: Shard, ids: list[str]) -> None:
        """Its rows and its jobs' records are needed no more."""
        self._jobs.forget(ids)
        self._doomed.append(shard.rows_key)
        if len(self._doomed) >= DOOMED:
            self._erase()

    def _erase(self) -> None:
        """Erase rows files of shards that are done. What a crash leaves goes at the end, with all of them."""
        while self._doomed:
            self._parts.objects.delete(self._doomed.pop())

    # -- now and then -------------------------------------------------------------------------------------------

    def _sweep(self) -> None:
        """Ends that nobody told of, records that were lost, and shards that take too long."""
        now = time.monotonic()
        if now - self._swept_at < SWEEP_S:
            return
        self._swept_at = now
        out = self._out()
        idle = self._executors - len(out)
        for shard, suffix, job in out:
            if job is None:
                self._jobs.publish(shard, [suffix])
            elif job.terminal:
                self.settle({job.id})
            elif idle > 0 and job.status is Status.RUNNING and not shard.twin:
                ran_ms = self._parts.jobs.now_ms() - job.started_ms
                if pacing.straggles(ran_ms, self._durations, expected_ms=self._expected_ms(shard)):
                    idle -= 1
                    self._twin(shard)

    def _expected_ms(self, shard: Shard) -> float | None:
        """What it should take by what rows of this table took, or else the model's rows; None: nobody knows."""
        row_ms = self._sizing.row_ms
        if row_ms is None:
            spec = self._spec
            (figures,) = self._parts.workers.figures([(spec.pool, spec.model, spec.version)])
            row_ms = pacing.cost_ms(figures)
        return None if row_ms is None else shard.rows * row_ms

    def _twin(self, shard: Shard) -> None:
        """Run it a second time elsewhere; whichever ends first counts."""
        log.info("a shard takes long: a second one runs", extra={"scoring": self._spec.id, "shard": shard.number})
        twin = msgspec.structs.replace(shard, out=(*shard.out, "b"), twin=True)
        self._ledger.replace([], [twin])
        self._jobs.publish(twin, ["b"])
