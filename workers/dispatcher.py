"""One executor's batches, one after the other: taken, claimed, run, committed.

A model that takes its time is given its next batch shortly before it is through with the one it runs, and the outcomes
of that one are committed while the next runs, so that it does not stand idle while the store is asked. At most one
batch is ahead, none while another executor is idle, and a batch that was ahead of one that killed the executor is
innocent: it goes back to the front of those that wait.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeGuard

from errors import JobFailure, ModelError, OutOfMemory, TimedOut, WorkerLost
from models.manifest import Manifest
from storage.clock import wall_ms
from storage.statistics import Recorder
from workers import wire
from workers.batcher import LOW_EVERY, Batcher
from workers.claiming import Claimer
from workers.commit import Committer, Stopped, failed
from workers.executor import Executor, ExecutorDied, ExecutorHung, ExecutorOversized
from workers.hands import Hands
from workers.lane import Delivery
from workers.pace import Pace
from workers.slicing import Slicing
from workers.stepping import StepEntry, Work, jobs_of, refuse_steps

log = logging.getLogger(__name__)

#: Executors that a job may take down while it runs alone, before it fails.
DEATHS_ALLOWED = 1
#: Before the expected end of a batch, when the next one is made ready: what claiming takes on a busy machine, seconds.
LEAD_S = 0.004
#: Most bytes sent ahead. Nobody reads them until the batch before is done, so they must fit into the socket's buffer:
#: else this side would wait in its write while the executor waits for its answer to be read.
AHEAD_BYTES = 64 * 1024


class Shared(NamedTuple):
    """What the executors of one model have in common."""

    manifest: Manifest
    batcher: Batcher[Work]
    hands: Hands
    committer: Committer
    recorder: Recorder
    stopping: threading.Event
    #: Asks for acknowledgement of what is settled.
    flush: Callable[[], None]
    #: Told of each batch that was run.
    ran: Callable[[Sequence[Work], wire.Done], None]
    #: Told of each slice of a shard.
    sliced: Callable[[wire.Sliced], None]
    #: Told why an executor is to be replaced.
    lost: Callable[[str], None]


class Run:
    """A batch on its way through the executor."""

    def __init__(self, batch: list[Work], limit_s: float) -> None:
        self.batch = batch
        self.items = [work.item() for work in batch]
        self.rows = sum(work.rows for work in batch)
        # The longest of the batch: a job with little patience must not take its neighbours' executor from them. One
        # that hangs runs again alone, under its own limit.
        self.timeout_s = max(min(work.timeout_s or limit_s, limit_s) for work in batch)
        self.sent = False
        #: When the executor could begin with it, monotonic seconds and wall clock.
        self.begun_s = 0.0
        self.begun_ms = 0

    def begin(self) -> None:
        self.begun_s = time.monotonic()
        self.begun_ms = wall_ms()

    @property
    def left_s(self) -> float:
        return max(0.0, self.begun_s + self.timeout_s - time.monotonic())

    @property
    def bytes(self) -> int:
        return sum(map(wire.length, self.items))


class Dispatcher:
    """Keeps one executor busy; on a thread of its own."""

    def __init__(self, executor: Executor, claimer: Claimer, shared: Shared) -> None:
        self._executor = executor
        self._claimer = claimer
        self._shared = shared
        self._pace = Pace()
        self._ahead: Run | None = None
        #: Whether a shard is under way: between its slices nothing is sent ahead.
        self._slicing = False

    def work(self) -> None:
        """Run batches until the worker stops or the executor is gone."""
        alive = True
        while alive:
            run, self._ahead = self._ahead, None
            if run is None:
                batch = self._shared.batcher.take()
                if not batch:
                    return
                run = self._prepare(batch)
            if run is not None:
                first = run.batch[0]
                alive = self._attempt_shards(first) if is_shard(first) else self._attempt(run)

    def _prepare(self, batch: list[Work]) -> Run | None:
        """Claim a batch; None where nothing of it is to be run."""
        if not batch:
            return None
        try:
            mine = self._set_apart(self._claimer.claim(batch))
        except Stopped:
            self._leave(batch)
            return None
        # Whatever else it is, it is this batch's: the thread goes on, and one bad job takes no other along.
        except Exception:
            log.exception("batch could not be claimed", extra=self._about(batch))
            self._blame(batch)
            return None
        if len(mine) < len(batch):
            self._shared.flush()
        return Run(mine, self._shared.manifest.limits.timeout_s) if mine else None

    def _set_apart(self, mine: list[Work]) -> list[Work]:
        """Jobs that lost several workers run alone: a batch of several goes on without them."""
        apart = suspects(mine) if len(mine) > 1 else []
        if apart:
            self._again_alone([*apart])
        return [work for work in mine if work not in apart]

    # -- shards -------------------------------------------------------------------------------------------------

    def _attempt_shards(self, first: Delivery) -> bool:
        """Run a shard, and those that follow it, and commit them; False when the executor is gone, or of no use."""
        slicing = Slicing(self._executor, self._claimer, self._shared.recorder, self)
        self._slicing = True
        try:
            why = slicing.run(first)
        except ExecutorHung as error:
            self._lose_shards(slicing, "hung", error, failed(TimedOut(f"the model hung: {error}")))
            return False
        except ExecutorDied as error:
            self._lose_shards(slicing, cause_of(error), error, failed(verdict_on(error)))
            return False
        # As in `_attempt`.
        except Exception:
            log.exception("shards could not be handled", extra=self._about([*slicing.under_way.values()]))
            for job in slicing.under_way.values():
                self._blame([job])
            self._put_back_shards(slicing.next)
            return False
        finally:
            self._slicing = False
        if why == "stopping":
            self._leave([*slicing.under_way.values(), *([slicing.next] if slicing.next else [])])
            return True
        # The executor was lost to another job: the shards are innocent.
        self._put_back_shards(slicing.next, *slicing.under_way.values())
        if why == "bereft":
            return False
        if reason := self._executor.oversized():
            self._lost("oversized", "executor replaced: too large", reason, [first])
        return not reason

    def _lose_shards(self, slicing: Slicing, cause: str, error: Exception, verdict: wire.Result) -> None:
        """A slice took the executor down: its shards begin anew, each alone; the second time one has its verdict."""
        jobs: list[Work] = [*slicing.under_way.values()]
        self._lost(cause, "executor lost in a slice", str(error), jobs)
        self._put_back_shards(slicing.next)
        for job in slicing.under_way.values():
            job.deaths += 1
            if job.deaths <= DEATHS_ALLOWED or self._shared.stopping.is_set():
                self._again_alone([job])
            else:
                self._commit([job], [verdict], compute_ms=0.0)

    def _put_back_shards(self, *jobs: Delivery | None) -> None:
        for job in jobs:
            if job is not None and not self._shared.batcher.put_back([(job.lane_name, job)]):
                self._leave([job])

    @property
    def stopping(self) -> bool:
        return self._shared.stopping.is_set()

    def sliced(self, told: wire.Sliced) -> None:
        self._shared.sliced(told)

    def limit_s(self, jobs: Sequence[Delivery]) -> float:
        """How long a slice may take: as the most patient of its shards allows."""
        limit_s = self._shared.manifest.limits.timeout_s
        return max((min(job.timeout_s or limit_s, limit_s) for job in jobs), default=limit_s)

    def another(self) -> Delivery | None:
        """A shard that waits, claimed; None where the executor is to be replaced first."""
        if self._executor.oversized():
            return None
        run = self._prepare(self._shared.batcher.another())
        return run.batch[0] if run is not None and is_shard(run.batch[0]) else None

    def end(self, job: Delivery, result: wire.Result, compute_ms: float) -> None:
        begun_s = time.monotonic()
        self._commit([job], [result], compute_ms=compute_ms)
        commit_ms = (time.monotonic() - begun_s) * 1000
        self._shared.recorder.add_batch(rows=0, queue_ms=(), stages_ms={"commit": commit_ms}, batches=0)

    def urgent(self) -> bool:
        """Between two slices: run what may not wait, but leave the shards their share; False: the executor is gone."""
        for _ in range(LOW_EVERY - 1):
            batch = self._shared.batcher.urgent()
            if not batch:
                return True
            run = self._prepare(batch)
            if run is not None and not self._attempt(run):
                return False
        return True

    # -- batches ------------------------------------------------------------------------------------------------

    def _attempt(self, run: Run) -> bool:
        """Run one batch and commit it; False when the executor is gone, or is of no use any more."""
        try:
            return self._carry(run)
        # As above; what the executor makes of the next batch, after an answer that made no sense, nobody knows.
        except Exception:
            log.exception("batch could not be handled", extra=self._about(run.batch))
            self._give_back_ahead()
            self._blame(run.batch)
            return False

    def _carry(self, run: Run) -> bool:
        try:
            self._send(run)
            self._look_ahead(run)
            done = self._executor.receive(run.left_s)
        except ExecutorHung:
            self._lost(
                "hung", "executor killed: batch past its timeout", f"no answer in {run.timeout_s:g} s", run.batch
            )
            self._suspect(run, failed(TimedOut(f"the model did not answer within {run.timeout_s:g} s")))
            return False
        except ExecutorDied as error:
            self._lost(cause_of(error), "executor died", str(error), run.batch)
            for delivery in run.batch:
                delivery.deaths += len(run.batch) == 1
            guilty = len(run.batch) == 1 and run.batch[0].deaths > DEATHS_ALLOWED
            self._suspect(run, failed(verdict_on(error)), retry=not guilty)
            return False
        now_s = time.monotonic()
        self._pace.note(run.rows, now_s - run.begun_s)
        sent = self._go_on()
        self._commit(run.batch, done.results, compute_ms=done.compute_ms)
        self._count(run, done, commit_ms=(time.monotonic() - now_s) * 1000)
        if sent and self._ahead is None and (reason := self._executor.oversized()):
            self._lost("oversized", "executor replaced: too large", reason, run.batch)
            return False
        return sent

    def _send(self, run: Run) -> None:
        """Hand a batch down; raises ExecutorDied."""
        if not run.sent:
            run.begin()
            self._executor.send(run.items)
            run.sent = True

    def _look_ahead(self, run: Run) -> None:
        """While `run` runs, make the next batch ready: late, so that it has grown, and is not missed elsewhere."""
        expected_s = self._pace.expected_s(run.rows)
        if expected_s is None or self._slicing or self._executor.oversized():
            # A job could be caught behind one that takes long, while another executor stands idle.
            return
        spare_s = run.begun_s + expected_s - LEAD_S - time.monotonic()
        if spare_s > 0 and self._executor.answered(min(spare_s, run.left_s)):
            return
        # What a fast model would gain by not waiting, it would lose by smaller batches.
        self._ahead = self._prepare(self._shared.batcher.ahead(full=spare_s <= 0))
        if self._ahead is not None and self._ahead.bytes <= AHEAD_BYTES:
            self._send(self._ahead)

    def _go_on(self) -> bool:
        """The executor is free: its next batch begins before the last one is committed; False when it is gone."""
        if self._ahead is None:
            return True
        try:
            self._send(self._ahead)
        except ExecutorDied as error:
            self._lost(cause_of(error), "executor died between batches", str(error), self._ahead.batch)
            self._give_back_ahead()
            return False
        self._ahead.begin()
        return True

    def _lost(self, cause: str, event: str, reason: str, batch: Sequence[Work]) -> None:
        """The executor is to be replaced: told, counted and shown."""
        self._shared.recorder.add_restart(cause)
        log.warning(event, extra=self._about(batch, reason=reason))
        self._shared.lost(reason)

    def _suspect(self, run: Run, verdict: wire.Result, *, retry: bool = False) -> None:
        """A batch took its executor down: several run again alone, uncharged; one alone gets its verdict."""
        self._give_back_ahead()
        if len(run.batch) > 1 or retry or self._shared.stopping.is_set():
            self._again_alone(run.batch)
        else:
            self._commit(run.batch, [verdict], compute_ms=0.0)

    def _give_back_ahead(self) -> None:
        if self._ahead is not None and not self._shared.batcher.put_back([(d.lane_name, d) for d in self._ahead.batch]):
            self._leave(self._ahead.batch)
        self._ahead = None

    def _again_alone(self, batch: list[Work]) -> None:
        if not self._shared.batcher.put_alone(batch):
            self._leave(batch)

    def _leave(self, batch: list[Work]) -> None:
        """Nothing is run here any more."""
        self._shared.hands.leave(refuse_steps(batch))

    def _commit(self, batch: list[Work], results: Sequence[wire.Result], *, compute_ms: float) -> None:
        for work, result in zip(batch, results, strict=True):
            if isinstance(work, StepEntry):
                work.end(result, compute_ms=compute_ms)
        ours = [(work, result) for work, result in zip(batch, results, strict=True) if isinstance(work, Delivery)]
        jobs = [job for job, _ in ours]
        held = [(job.message, job.claim) for job in jobs if job.claim is not None]
        try:
            self._shared.committer.commit(held, [result for _, result in ours], compute_ms=compute_ms)
        except Stopped:
            self._shared.hands.leave(jobs)
            return
        except Exception:
            log.exception("batch could not be committed", extra=self._about(jobs))
            self._blame([*jobs])
        else:
            self._shared.hands.settle(jobs)
        finally:
            self._shared.flush()

    def _blame(self, batch: list[Work]) -> None:
        """Find the job that cannot be handled: each runs again alone, and the one that fails alone is dropped."""
        if len(batch) > 1:
            self._again_alone(batch)
            return
        for work in batch:
            if isinstance(work, StepEntry):
                work.end(failed(ModelError("the worker could not handle it")), compute_ms=0.0)
            else:
                self._shared.committer.drop(work.message, work.claim)
        self._shared.hands.settle(jobs_of(batch))
        self._shared.flush()

    def _count(self, run: Run, done: wire.Done, *, commit_ms: float) -> None:
        self._shared.recorder.add_batch(
            rows=run.rows,
            queue_ms=[max(0, run.begun_ms - work.since_ms) for work in run.batch],
            stages_ms={
                "decode": done.decode_ms, "compute": done.compute_ms, "encode": done.encode_ms, "commit": commit_ms,
            },
        )  # fmt: skip
        self._shared.ran(run.batch, done)

    def _about(self, batch: Sequence[Work], **fields: object) -> dict[str, object]:
        return {"model": self._shared.manifest.name, "jobs": [work.id for work in batch], **fields}


def is_shard(work: Work) -> TypeGuard[Delivery]:
    return isinstance(work, Delivery) and work.is_shard


def suspects(mine: Sequence[Work]) -> list[Delivery]:
    """Of the jobs just claimed, those that must run alone."""
    found = [job for job in jobs_of(mine) if job.claim is not None and job.claim.alone and not job.apart]
    for job in found:
        job.apart = True
    return found


def verdict_on(error: ExecutorDied) -> JobFailure:
    """What a job failed of that alone ended its executor again and again."""
    if isinstance(error, ExecutorOversized):
        return OutOfMemory(f"the process that ran this job alone was killed: {error}")
    return WorkerLost(f"it ended the process that ran it: {error}")


def cause_of(error: ExecutorDied) -> str:
    return "oversized" if isinstance(error, ExecutorOversized) else "died"
