"""One model version on one worker: its waiting jobs, its executors, and a thread for each of these."""

import logging
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from errors import LoadError
from models.catalog import Entry
from storage.jobs import JobStore, Return
from storage.statistics import Recorder
from storage.workers import ModelState, ModelStatus
from tasks.message import LANES, queue_name
from workers import wire
from workers.batcher import Batcher, Limits, likeness
from workers.claiming import Claimer
from workers.commit import Committer
from workers.dispatcher import Dispatcher, Shared
from workers.executor import Executor
from workers.hands import Hands
from workers.lane import Delivery, Lane
from workers.replying import Replies
from workers.sizing import Sizing
from workers.stepping import StepEntry, Work, jobs_of, refuse_steps

log = logging.getLogger(__name__)

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
        cache: str = "",
        jobs: JobStore,
        stopping: threading.Event,
        changed: Callable[["Serving"], None],
        flush: Callable[[], None],
        recorder: Recorder,
        replies: Replies | None = None,
    ) -> None:
        self.entry = entry
        self.queues = [queue_name(pool, entry.manifest.name, entry.version, lane) for lane in LANES]
        batching = entry.manifest.batching
        self.prefetch = min(PREFETCH_MOST, 2 * batching.max_items * len(devices))
        #: Shards that a lane holds: each counts as a full batch.
        self.shards_ahead = 2 * len(devices)
        self.batcher: Batcher[Work] = Batcher(
            Limits(batching.max_items, batching.max_wait_ms / 1000, batching.max_weight or sys.maxsize)
        )
        self._sizing = Sizing(self.batcher, target_ms=batching.target_ms)
        self._reshapes = False
        self._jobs = jobs
        self.hands = Hands(replies)
        self._shared = Shared(
            manifest=entry.manifest,
            batcher=self.batcher,
            hands=self.hands,
            committer=Committer(jobs, stopping),
            recorder=recorder,
            flush=flush,
            stopping=stopping,
            ran=self._count,
            sliced=self._count_slice,
            lost=self._lost,
        )
        self._stopping = stopping
        self._changed = changed
        self._guard = threading.Lock()
        self._closed = False
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
                args=(
                    wire.Spec(str(repository), entry.manifest.name, entry.version, device, objects_url, cache),
                    device,
                ),
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
        return not len(self.hands)

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
        """Take a message in; one that came back while its job still is in our hands joins that."""
        if not self.hands.take_in(delivery):
            return
        if self._reshapes and not delivery.is_shard:
            delivery.likeness = likeness("", delivery.weight)
        self.batcher.put(delivery.lane.name, delivery)

    def enter(self, lane: str, step: StepEntry) -> bool:
        """Take a step of a pipeline's job in, from any thread; False where no more is taken."""
        step.lane_name = lane
        if self._reshapes:
            step.likeness = likeness("", step.call.weight)
        with self._guard:
            if not self._closed:
                self.batcher.put(lane, step)
            return not self._closed

    def forget_dead_lanes(self) -> None:
        """The connection was lost: what waited here will be delivered again; what we claimed goes on."""
        self.hands.let_go(jobs_of(self.batcher.discard(lost)))

    def surplus(self, lane: Lane) -> list[Delivery]:
        """Let go of the shards of a lane that wait, but for one an executor; returns them."""
        kept = 0

        def beyond(work: Work) -> bool:
            nonlocal kept
            if not isinstance(work, Delivery) or not work.is_shard or work.lane is not lane:
                return False
            kept += 1
            return kept > len(self._devices)

        extra = jobs_of(self.batcher.discard(beyond))
        self.hands.let_go(extra)
        return extra

    def release(self) -> list[Delivery]:
        """Let go of the jobs that wait, while no executor can be had for them; returns them."""
        waiting = refuse_steps(self.batcher.empty())
        self.hands.let_go(waiting)
        return waiting

    def stop_taking(self) -> list[Delivery]:
        """Start no more batches; returns the jobs that waited. Pipelines take their steps elsewhere."""
        self._stopping.set()
        with self._guard:
            self._closed = True
        waiting = refuse_steps(self.batcher.close())
        self.hands.let_go(waiting)
        return waiting

    def finish(self, timeout_s: float) -> bool:
        """Wait for the batches that run; False when some still do."""
        for thread in self._threads:
            thread.join(timeout_s)
        return not any(thread.is_alive() for thread in self._threads)

    def unfinished(self) -> list[Delivery]:
        """Jobs that a stop left without an outcome; their messages go back."""
        return self.hands.left

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
            claimer = Claimer(self._jobs, self._shared.committer, self.hands, device=device)
            try:
                self._work(executor, claimer)
            finally:
                executor.stop()
                self._count_ready(-1)

    def _work(self, executor: Executor, claimer: Claimer) -> None:
        """Run what comes until the worker stops or the executor is gone."""
        Dispatcher(executor, claimer, self._shared).work()

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

    def _count(self, batch: Sequence[Work], done: wire.Done) -> None:
        with self._guard:
            self._rows += sum(delivery.rows for delivery in batch)
            self._busy_ms += done.busy_ms
            self._sizing.after(batch, done)

    def _count_slice(self, told: wire.Sliced) -> None:
        with self._guard:
            self._rows += told.rows
            self._busy_ms += told.busy_ms

    def _lost(self, reason: str) -> None:
        """An executor is to be replaced: counted and shown."""
        with self._guard:
            self._restarts += 1
            self._restart_reason = reason


def lost(work: Work) -> bool:
    """Whether a job that waits will be delivered again."""
    return isinstance(work, Delivery) and work.claim is None and not work.lane.alive


def open_lanes(serving: Serving, connection: object, *, amqp: bool, name: str) -> list[Lane]:
    """A consumer for each of the model's lanes, on the given connection."""
    return [
        Lane(connection, queue, amqp=amqp, prefetch=serving.prefetch, consumer=f"{name}/{queue}")
        for queue in serving.queues
    ]
