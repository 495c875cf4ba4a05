"""One model version on one worker: its waiting jobs, its executors, and a thread for each of these."""

import logging
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from errors import JobFailure, LoadError, OutOfMemory, TimedOut, WorkerLost
from models.catalog import Entry
from storage.jobs import Claim, JobStore, Return, Verdict, Want, wall_ms
from storage.statistics import Recorder
from storage.workers import ModelState, ModelStatus
from tasks.message import LANES, queue_name
from workers import wire
from workers.batcher import Batcher, Limits, likeness
from workers.commit import Committer, Stopped, failed, problem
from workers.executor import Executor, ExecutorDied, ExecutorHung, ExecutorOversized
from workers.lane import Delivery, Lane
from workers.sizing import Sizing

log = logging.getLogger(__name__)

#: Executors that a job may take down while it runs alone, before it fails.
DEATHS_ALLOWED = 1
#: Workers that may die under a job before it fails.
LOSSES_ALLOWED = 5
#: Before a model that could not be loaded is tried again: doubles up to the second, seconds.
RELOAD_FIRST_S, RELOAD_MOST_S = 2.0, 60.0
#: Most messages a lane holds ahead, whatever the batch size.
PREFETCH_MOST = 1000


class Serving:
    """Jobs come in by `receive`, and leave by being settled on their lane after the commit."""

    def __init__(
        self,
        entry: Entry,
        *,
        pool: str,
        devices: Sequence[str],
        repository: Path,
        objects_url: str,
        jobs: JobStore,
        stopping: threading.Event,
        changed: Callable[["Serving"], None],
        flush: Callable[[], None],
        recorder: Recorder,
    ) -> None:
        self.entry = entry
        self.queues = [queue_name(pool, entry.manifest.name, entry.version, lane) for lane in LANES]
        batching = entry.manifest.batching
        self.prefetch = min(PREFETCH_MOST, 2 * batching.max_items * len(devices))
        self.batcher: Batcher[Delivery] = Batcher(
            Limits(batching.max_items, batching.max_wait_ms / 1000, batching.max_weight or sys.maxsize)
        )
        self._sizing = Sizing(self.batcher, target_ms=batching.target_ms)
        self._reshapes = False
        self._jobs = jobs
        self._committer = Committer(jobs, stopping)
        self._stopping = stopping
        self._changed = changed
        self._flush = flush
        self._recorder = recorder
        self._running: dict[str, Delivery] = {}
        self._guard = threading.Lock()
        self._unfinished: list[Delivery] = []
        self._ready = 0
        self._reason = ""
        #: No job is accepted for it any more; those that were are run.
        self.draining = False
        self._rows = 0
        self._busy_ms = 0.0
        self._restarts = 0
        self._restart_reason = ""
        name = f"{entry.manifest.name}-{entry.version}"
        self._devices = tuple(devices)
        self._threads = [
            threading.Thread(
                target=self._dispatch,
                args=(wire.Spec(str(repository), entry.manifest.name, entry.version, device, objects_url), device),
                name=f"{name}-{index}",
                daemon=True,
            )
            for index, device in enumerate(devices)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    @property
    def ready(self) -> bool:
        return self._ready > 0

    @property
    def failed(self) -> bool:
        """Whether the last try to load it failed; it is tried again."""
        return not self._ready and bool(self._reason)

    @property
    def stopped(self) -> bool:
        """Whether it takes no job any more, for good."""
        return self._stopping.is_set()

    @property
    def idle(self) -> bool:
        """Whether nothing that came in waits or runs."""
        return not self._running and not len(self.batcher)

    def status(self) -> ModelStatus:
        state: ModelState = "ready" if self._ready else "failed" if self._reason else "loading"
        if self.draining:
            state = "draining"
        return ModelStatus(
            model=self.entry.manifest.name,
            version=self.entry.version,
            state=state,
            reason=self._reason,
            device=self._devices[0],
            executors=self._ready,
            rows=self._rows,
            busy_ms=round(self._busy_ms, 3),
            restarts=self._restarts,
            restart_reason=self._restart_reason,
        )

    # -- on the event loop's thread -----------------------------------------------------------------------------

    def receive(self, delivery: Delivery) -> None:
        """Take a message in; one that came back while its job still runs here joins that run."""
        with self._guard:
            held = self._running.get(delivery.message.id)
            if held is not None and not held.lane.alive:
                held.lane, held.tag = delivery.lane, delivery.tag
                return
        if self._reshapes:
            delivery.likeness = likeness("", delivery.weight)
        self.batcher.put(delivery.lane.name, delivery)

    def forget_dead_lanes(self) -> None:
        """The connection was lost: what waited here will be delivered again, what runs goes on."""
        self.batcher.discard(lambda delivery: not delivery.lane.alive)

    def release(self) -> list[Delivery]:
        """Let go of the jobs that wait, while no executor can be had for them; returns them."""
        waiting = self.batcher.empty()
        with self._guard:
            for delivery in waiting:
                if self._running.get(delivery.message.id) is delivery:
                    del self._running[delivery.message.id]
        return waiting

    def stop_taking(self) -> list[Delivery]:
        """Start no more batches; returns the jobs that waited."""
        self._stopping.set()
        return self.batcher.close()

    def finish(self, timeout_s: float) -> bool:
        """Wait for the batches that run; False when some still do."""
        for thread in self._threads:
            thread.join(timeout_s)
        return not any(thread.is_alive() for thread in self._threads)

    def unfinished(self) -> list[Delivery]:
        """Jobs that a stop left without an outcome; their messages go back."""
        return self._unfinished

    def disclaim(self, deliveries: Sequence[Delivery]) -> None:
        """Put jobs that were claimed and not finished back into the queue's state, so that they count as no loss."""
        held = [
            Return(id=d.message.id, queue=d.message.queue, token=d.claim.token)
            for d in deliveries
            if d.claim is not None
        ]
        if held:
            self._jobs.requeue_all(held)

    # -- one thread an executor ---------------------------------------------------------------------------------

    def _dispatch(self, spec: wire.Spec, device: str) -> None:
        pause_s = RELOAD_FIRST_S
        while not self._stopping.is_set():
            try:
                executor = self._start(spec)
            except (LoadError, OSError) as error:
                self._reason = str(error)
                log.error("model could not be loaded", extra={"model": spec.model, "reason": self._reason})
                self._changed(self)
                self._stopping.wait(pause_s)
                pause_s = min(RELOAD_MOST_S, pause_s * 2)
                continue
            pause_s = RELOAD_FIRST_S
            self._count_ready(+1)
            try:
                self._work(executor, device)
            finally:
                executor.stop()
                self._count_ready(-1)

    def _start(self, spec: wire.Spec) -> Executor:
        """An executor that is ready; raises LoadError, or OSError where no process can be had."""
        manifest = self.entry.manifest
        executor = Executor(spec, threads=manifest.threads, memory_mb=manifest.limits.memory_mb)
        try:
            loaded = executor.load()
        except LoadError:
            executor.kill()
            raise
        self._reshapes = loaded.reshapes
        about = {"model": spec.model, "version": spec.version, "device": spec.device}
        log.info("executor ready", extra=about | {"load_ms": round(loaded.load_ms)})
        return executor

    def _count_ready(self, change: int) -> None:
        with self._guard:
            self._ready += change
            if change > 0:
                self._reason = ""
        self._changed(self)

    def _work(self, executor: Executor, device: str) -> None:
        """Run batches until the worker stops or the executor is gone."""
        while batch := self.batcher.take():
            try:
                mine = self._claim(batch, device)
                if mine and not self._run(executor, mine):
                    return
            except Stopped:
                self._unfinished += batch
                return
            # Whatever else it is, it is this batch's: the thread goes on, and one bad job takes no other along.
            except Exception:
                log.exception("batch could not be handled", extra=self._about(batch))
                self._blame(batch)
            finally:
                self._flush()

    def _blame(self, batch: list[Delivery]) -> None:
        """Find the job that cannot be handled: each runs again alone, and the one that fails alone is dropped."""
        if len(batch) > 1:
            self.batcher.put_alone(batch)
            return
        for delivery in batch:
            log.error("job dropped", extra={"job": delivery.message.id})
            with self._guard:
                self._running.pop(delivery.message.id, None)
            delivery.lane.settle(delivery.tag)

    def _claim(self, batch: list[Delivery], device: str) -> list[Delivery]:
        """Make the batch's jobs ours; those that are not to be run any more are settled."""
        fresh = [delivery for delivery in batch if delivery.claim is None]
        claims = self._claims(fresh, device)
        missing = [d for d, claim in zip(fresh, claims, strict=True) if claim.verdict is Verdict.MISSING]
        if missing:
            # The record was lost, or the job was pushed straight to the queue: it is made from the message.
            records = [(d.message.record(d.body, now_ms=d.seen_ms), 0) for d in missing]
            self._committer.insist(lambda: self._jobs.create_all(records))
            again = iter(self._claims(missing, device))
            claims = [next(again) if claim.verdict is Verdict.MISSING else claim for claim in claims]
        with self._guard:
            for delivery, claim in zip(fresh, claims, strict=True):
                if claim.verdict is Verdict.RUN:
                    delivery.claim = claim
                    self._running[delivery.message.id] = delivery
        mine = [delivery for delivery in batch if delivery.claim is not None]
        for delivery in batch:
            if delivery.claim is None:
                delivery.lane.settle(delivery.tag)
        return mine

    def _claims(self, deliveries: Sequence[Delivery], device: str) -> list[Claim]:
        if not deliveries:
            return []
        wants = [Want(d.message.id, d.message.queue, d.redelivered, f"{d.lane.consumer}/{d.tag}") for d in deliveries]
        lost = problem(WorkerLost(f"{LOSSES_ALLOWED + 1} workers died while they ran this job"))
        return self._committer.insist(
            lambda: self._jobs.claim_all(wants, device=device, losses_allowed=LOSSES_ALLOWED, lost_error=lost)
        )

    def _run(self, executor: Executor, batch: list[Delivery]) -> bool:
        """Run and commit one batch; False when the executor is gone."""
        limit_s = self.entry.manifest.limits.timeout_s
        # The longest of the batch: a job with little patience must not take its neighbours' executor from them. One
        # that hangs runs again alone, under its own limit.
        timeout_s = max(min(delivery.message.timeout_s or limit_s, limit_s) for delivery in batch)
        items = [wire.Item(d.message.id, d.claim.token if d.claim else 0, d.body) for d in batch]
        begun_ms = wall_ms()
        try:
            done = executor.run(items, timeout_s=timeout_s)
        except ExecutorHung:
            self._lost("hung", "executor killed: batch past its timeout", f"no answer in {timeout_s:g} s", batch)
            self._suspect(batch, failed(TimedOut(f"the model did not answer within {timeout_s:g} s")))
            return False
        except ExecutorDied as error:
            cause = "oversized" if isinstance(error, ExecutorOversized) else "died"
            self._lost(cause, "executor died", str(error), batch)
            for delivery in batch:
                delivery.deaths += len(batch) == 1
            guilty = len(batch) == 1 and batch[0].deaths > DEATHS_ALLOWED
            self._suspect(batch, failed(verdict_on(error)), retry=not guilty)
            return False
        ran_s = time.monotonic()
        self._commit(batch, done.results, compute_ms=done.compute_ms)
        self._count(batch, done, begun_ms=begun_ms, commit_ms=(time.monotonic() - ran_s) * 1000)
        if reason := executor.oversized():
            self._lost("oversized", "executor replaced: too large", reason, batch)
        return not reason

    def _lost(self, cause: str, event: str, reason: str, batch: Sequence[Delivery]) -> None:
        """An executor is to be replaced: told, counted and shown."""
        self._recorder.add_restart(cause)
        log.warning(event, extra=self._about(batch, reason=reason))
        with self._guard:
            self._restarts += 1
            self._restart_reason = reason

    def _suspect(self, batch: list[Delivery], verdict: wire.Result, *, retry: bool = False) -> None:
        """A batch took its executor down: several run again alone, uncharged; one alone gets its verdict."""
        if self._stopping.is_set():
            self._unfinished += batch
        elif len(batch) > 1 or retry:
            self.batcher.put_alone(batch)
        else:
            self._commit(batch, [verdict], compute_ms=0.0)

    def _commit(self, batch: list[Delivery], results: Sequence[wire.Result], *, compute_ms: float) -> None:
        held = [(d.message, d.claim) for d in batch if d.claim is not None]
        self._committer.commit(held, results, compute_ms=compute_ms)
        with self._guard:
            for delivery in batch:
                if self._running.get(delivery.message.id) is delivery:
                    del self._running[delivery.message.id]
                delivery.lane.settle(delivery.tag)

    def _count(self, batch: Sequence[Delivery], done: wire.Done, *, begun_ms: int, commit_ms: float) -> None:
        rows = sum(delivery.rows for delivery in batch)
        self._recorder.add_batch(
            rows=rows,
            queue_ms=[max(0, begun_ms - (d.message.created_ms or d.seen_ms)) for d in batch],
            stages_ms={
                "decode": done.decode_ms, "compute": done.compute_ms, "encode": done.encode_ms, "commit": commit_ms,
            },
        )  # fmt: skip
        with self._guard:
            self._rows += rows
            self._busy_ms += done.busy_ms
            self._sizing.after(batch, done)

    def _about(self, batch: Sequence[Delivery], **fields: object) -> dict[str, object]:
        return {"model": self.entry.manifest.name, "jobs": [d.message.id for d in batch], **fields}


def verdict_on(error: ExecutorDied) -> JobFailure:
    """What a job failed of that alone ended its executor again and again."""
    if isinstance(error, ExecutorOversized):
        return OutOfMemory(f"the process that ran this job alone was killed: {error}")
    return WorkerLost(f"it ended the process that ran it: {error}")


def open_lanes(serving: Serving, connection: object, *, amqp: bool, name: str) -> list[Lane]:
    """A consumer for each of the model's lanes, on the given connection."""
    return [
        Lane(connection, queue, amqp=amqp, prefetch=serving.prefetch, consumer=f"{name}/{queue}")
        for queue in serving.queues
    ]
