"""One pipeline version on one worker: its jobs' steps run in the servings of the steps' models, beside ordinary jobs.

A pipeline's job is a job like any other to the outside: one record, one message, which stays unacknowledged until the
outcome is committed. Its steps are entries of the models' batchers, with neither.

Whatever happens comes in as an event, from the taker (jobs), the listener (the pipeline's own process) and the
models' threads (steps); one thread handles all of them, and so owns what is known of the jobs under way.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from errors import LoadError, ModelError, StoreUnavailable, TimedOut, WorkerLost
from storage.jobs import Claim, Standing
from workers import stepwire, wire
from workers.claiming import Claimer
from workers.commit import Stopped, failed, problem
from workers.dispatcher import DEATHS_ALLOWED, suspects
from workers.executor import Executor, ExecutorDied
from workers.flights import Flight, Room
from workers.lane import Delivery
from workers.pipeline_executor import PipelineExecutor
from workers.serving import Serving
from workers.stepping import Report, StepEntry, jobs_of

log = logging.getLogger(__name__)

#: Between looks at what announces itself by no event: time limits, canceled jobs, models that become ready; seconds.
LOOK_S = 0.2

#: The serving of a model, in the version named or else (empty) the newest that is ready; None where there is none.
Find = Callable[[str, str], Serving | None]


class Reported(NamedTuple):
    entry: StepEntry
    report: Report


class Said(NamedTuple):
    """A word of the pipeline's process, or its end in words."""

    process: PipelineExecutor
    word: stepwire.Up | str


Event = list[Delivery] | Reported | Said


class PipelineServing(Serving):
    """As a model's serving, with a process that composes models in place of one that is a model."""

    def __init__(self, *arguments: Any, find: Find, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._find = find
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._room = Room(self.entry.manifest.batching.max_items)
        self._flights: dict[str, Flight] = {}
        #: When the records of all jobs under way were looked at.
        self._looked_s = 0.0
        self._taker = threading.Thread(target=self._take, name=f"{self.entry.manifest.name}-taker", daemon=True)

    def start(self) -> None:
        super().start()
        self._taker.start()

    def stop_taking(self) -> list[Delivery]:
        waiting = super().stop_taking()
        self._room.close()
        return waiting

    # -- the taker's thread -------------------------------------------------------------------------------------

    def _take(self) -> None:
        """Hand jobs over as there is room for them: the rest waits where it can be given back."""
        while batch := self.batcher.take():
            jobs = jobs_of(batch)
            if not self._room.take(jobs):
                self.hands.leave(jobs)
                return
            self._events.put(jobs)

    # -- the pipeline's thread ----------------------------------------------------------------------------------

    def _start(self, spec: wire.Spec) -> Executor:
        """The pipeline's process, once the models of its steps are ready; raises LoadError or OSError."""
        self._await_models()
        process = PipelineExecutor(spec)
        try:
            process.load()
        except LoadError:
            process.kill()
            raise
        log.info("pipeline ready", extra={"model": spec.model, "version": spec.version})
        return process

    def _await_models(self) -> None:
        """Raises LoadError where a model of a step cannot be had."""
        for step in self.entry.manifest.steps:
            while not self._stopping.is_set():
                serving = self._find(step.model, version_of(step.version))
                if serving is None:
                    raise LoadError(f"step {step.name!r}: model {step.model!r} is not served by this worker")
                status = serving.status()
                if serving.ready:
                    break
                if status.state == "failed":
                    raise LoadError(f"step {step.name!r}: model {step.model!r} could not be loaded: {status.reason}")
                self._stopping.wait(LOOK_S)
        if self._stopping.is_set():
            raise LoadError("the worker stops")

    def _work(self, executor: Executor, claimer: Claimer) -> None:
        """Work on jobs until the worker stops or the process is gone."""
        if not isinstance(executor, PipelineExecutor):
            raise TypeError(f"a pipeline is run by its own process, not by {type(executor).__name__}")
        name = f"{self.entry.manifest.name}-listener"
        threading.Thread(target=self._listen, args=(executor,), name=name, daemon=True).start()
        while not self._stopping.is_set():
            try:
                if not self._handle(self._next_events(), executor, claimer):
                    return
            except Stopped:
                break
            # Whatever else it is: what is under way begins anew, each job alone, and one bad job takes no other along.
            except Exception:
                log.exception("events could not be handled", extra={"model": self.entry.manifest.name})
                executor.interrupt()
                self._blame_all()
                return
            finally:
                self._shared.flush()
        executor.interrupt()
        self._give_up()

    def _listen(self, process: PipelineExecutor) -> None:
        while True:
            try:
                self._events.put(Said(process, process.hear()))
            except ExecutorDied as error:
                self._events.put(Said(process, str(error)))
                return

    def _next_events(self) -> list[Event]:
        """What has happened: waits for something, a moment at most."""
        found: list[Event] = []
        try:
            found.append(self._events.get(timeout=LOOK_S))
            while True:
                found.append(self._events.get_nowait())
        except Empty:
            return found

    def _handle(self, events: Sequence[Event], process: PipelineExecutor, claimer: Claimer) -> bool:
        """Do what the events ask for, in groups; False when the process is gone."""
        made = [self._made(event) for event in events if isinstance(event, Reported)]
        # What an earlier process said is void: the jobs that it had begin anew.
        words = [event.word for event in events if isinstance(event, Said) and event.process is process]
        calls = [call for word in words if isinstance(word, stepwire.Asked) for call in word.calls]
        for word in words:
            if isinstance(word, stepwire.Ended):
                self._end(word.id, word.result, token=word.token)
        over = [*self._end_late(process), *self._end_unwanted({call.job for call in calls})]
        made += [self._route(call) for call in calls]
        begun = self._begin([job for event in events if isinstance(event, list) for job in event], claimer)
        died = [word for word in words if isinstance(word, str)]
        try:
            if not died:
                tell(process, begun, [one for one in made if one is not None], over)
        except ExecutorDied as error:
            # Its listener hears of it as well, and says how it ended.
            log.info("pipeline's process does not listen", extra={"reason": str(error)})
        if died:
            self._suspect_all(died[0])
        return not died

    def _begin(self, jobs: list[Delivery], claimer: Claimer) -> list[wire.Item]:
        """Claim jobs that came; what is to be told of those that are ours."""
        if not jobs:
            return []
        try:
            mine = self._set_apart(claimer.claim(jobs))
        except Stopped:
            self.hands.leave(jobs)
            raise
        self._room.give([job for job in jobs if job not in mine and not job.apart], ended=True)
        now_s = time.monotonic()
        for job in mine:
            self._flights[job.id] = Flight(job, limit_s=self.entry.manifest.limits.timeout_s, now_s=now_s)
        return [job.item() for job in mine]

    def _set_apart(self, mine: list[Delivery]) -> list[Delivery]:
        """Jobs that lost several workers run alone."""
        apart = suspects(mine) if len(mine) > 1 or self._flights else []
        if apart:
            self._room.suspect(apart)
            self._room.give(apart, ended=False)
            if not self.batcher.put_alone(apart):
                self.hands.leave(apart)
        return [job for job in mine if job not in apart]

    def _route(self, call: stepwire.Call) -> stepwire.Made | None:
        """Put a step among the jobs of its model; its failure where that is not to be had."""
        flight = self._flights.get(call.job)
        if flight is None:
            return None
        left_s = max(0.001, flight.until_s - time.monotonic())
        entry = StepEntry(
            call,
            tenant=flight.delivery.message.tenant,
            timeout_s=left_s,
            reported=lambda entry, report: self._events.put(Reported(entry, report)),
        )
        return self._enter(flight, entry)

    def _enter(self, flight: Flight, entry: StepEntry) -> stepwire.Made | None:
        serving = self._find(entry.call.model, entry.call.version)
        if serving is not None and serving.enter(flight.delivery.message.priority, entry):
            flight.open[entry.call.number] = entry
            entry.version = serving.entry.version
            return None
        error = ModelError(f"model {entry.call.model!r} is not served by this worker now")
        # Not the job's fault: it waits, and is tried again.
        return stepwire.Made(entry.call.number, wire.Result(error=problem(error), retryable=True, charged=False))

    def _made(self, event: Reported) -> stepwire.Made | None:
        """What to tell of a step that was run; one that was refused goes elsewhere."""
        entry, report = event
        flight = self._flights.get(entry.id)
        # A process that was started anew counts its calls anew.
        if flight is None or flight.open.get(entry.call.number) is not entry:
            return None
        del flight.open[entry.call.number]
        if report.result is None:
            return self._enter(flight, entry)
        return stepwire.Made(entry.call.number, report.result, entry.version, report.queue_ms, report.compute_ms)

    def _end_unwanted(self, ids: set[str]) -> list[str]:
        """Look at the records of jobs that go on to another step, and of all now and then, in one round trip.

        One that was canceled, or taken over, ends here.
        """
        now_s = time.monotonic()
        if now_s - self._looked_s >= LOOK_S:
            self._looked_s = now_s
            ids = set(self._flights)
        flights = [flight for id in ids if (flight := self._flights.get(id))]
        if not flights:
            return []
        held = [(flight.delivery.id, token_of(flight.delivery)) for flight in flights]
        try:
            standings = self._jobs.standing(held)
        except StoreUnavailable:
            # The commit looks again, and waits for the store.
            return []
        over = []
        for flight, standing in zip(flights, standings, strict=True):
            if standing is not Standing.OURS:
                self._end(flight.delivery.id, failed(WorkerLost("it was canceled, or is run elsewhere")))
                over.append(flight.delivery.id)
        return over

    def _end_late(self, process: PipelineExecutor) -> list[str]:
        now_s = time.monotonic()
        late = [flight for flight in self._flights.values() if now_s >= flight.until_s]
        for flight in late:
            if not flight.steps:
                log.warning("pipeline's process killed: job past its timeout", extra={"job": flight.delivery.id})
                process.interrupt()
            where = f"it was in step {', '.join(flight.steps)}" if flight.steps else "it was between its steps"
            error = TimedOut(f"the pipeline did not end within {flight.limit_s:g} s; {where}")
            self._end(flight.delivery.id, failed(error))
        return [flight.delivery.id for flight in late]

    def _end(self, id: str, result: wire.Result, *, token: int | None = None) -> None:
        """Commit a job's outcome, unless it has another one."""
        flight = self._flights.get(id)
        if flight is None or token not in (None, token_of(flight.delivery)):
            return
        flight.abandon()
        ended_s = time.monotonic()
        compute_ms = (ended_s - flight.began_s) * 1000
        job = flight.delivery
        self._shared.committer.commit([(job.message, claim_of(job))], [result], compute_ms=compute_ms)
        self.hands.settle([job])
        self._shared.recorder.add_batch(
            rows=job.rows,
            queue_ms=[max(0, flight.began_ms - job.since_ms)],
            stages_ms={"compute": compute_ms, "commit": (time.monotonic() - ended_s) * 1000},
        )
        self._count([job], wire.Done([result], decode_ms=0.0, compute_ms=compute_ms, encode_ms=0.0))
        del self._flights[id]
        self._room.give([flight.delivery], ended=True)

    def _suspect_all(self, reason: str) -> None:
        """The process died under these jobs: each runs again alone; one that is alone is asked for its deaths."""
        flights = list(self._flights.values())
        log.warning("pipeline's process died", extra={"model": self.entry.manifest.name, "reason": reason})
        if len(flights) == 1:
            flights[0].delivery.deaths += 1
            if flights[0].delivery.deaths > DEATHS_ALLOWED:
                error = WorkerLost(f"it ended the pipeline's process: {reason}")
                self._end(flights[0].delivery.id, failed(error))
                return
        self._begin_anew()

    def _blame_all(self) -> None:
        """Something under way cannot be handled: each job runs again alone, and one that is alone is dropped."""
        if len(self._flights) != 1:
            self._begin_anew()
            return
        (flight,) = self._flights.values()
        flight.abandon()
        self._flights.clear()
        self._room.give([flight.delivery], ended=True)
        self._shared.committer.drop(flight.delivery.message, flight.delivery.claim)
        self.hands.settle([flight.delivery])

    def _begin_anew(self) -> None:
        jobs = [flight.delivery for flight in self._flights.values()]
        for flight in self._flights.values():
            flight.abandon()
        self._flights.clear()
        self._room.suspect(jobs)
        self._room.give(jobs, ended=False)
        if not self.batcher.put_alone(jobs):
            self.hands.leave(jobs)

    def _give_up(self) -> None:
        """The worker stops: what is under way goes back, since its next steps would find no executor."""
        self._taker.join()
        for flight in self._flights.values():
            flight.abandon()
        self.hands.leave([flight.delivery for flight in self._flights.values()])
        self._flights.clear()
        while not self._events.empty():
            event = self._events.get()
            if isinstance(event, list):
                self.hands.leave(event)


def tell(process: PipelineExecutor, begun: list[wire.Item], made: list[stepwire.Made], over: list[str]) -> None:
    """Say what there is to be said; raises ExecutorDied."""
    if over:
        process.tell(stepwire.Drop(over))
    if made:
        process.tell(stepwire.Results(made))
    if begun:
        process.tell(stepwire.Begin(begun))


def version_of(version: str | int | None) -> str:
    return "" if version is None else str(version)


def claim_of(delivery: Delivery) -> Claim:
    """Of a job under way."""
    if delivery.claim is None:
        raise RuntimeError(f"job {delivery.id} is under way and was not claimed")
    return delivery.claim


def token_of(delivery: Delivery) -> int:
    return claim_of(delivery).token
