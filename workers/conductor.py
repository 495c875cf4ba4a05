"""All the jobs that a pipeline's process works on at once: messages in, messages out, no pipe and no clock.

It decodes jobs' inputs, asks for calls of the steps' models, and writes the outputs; a job's failure is its own.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count
from typing import Any, NamedTuple

import msgspec

from errors import ModelError, PenstockError
from models import outputs
from models.arrays import Batch
from models.batch import row_count
from models.composing import Graph
from models.course import Course, Due
from models.failures import translate
from models.handler import Handler
from models.manifest import Manifest
from models.measuring import measure_rows
from models.running import Call
from workers import stepwire, wire
from workers.tensors import pack, unpack


class StepTimes(msgspec.Struct):
    """One step of one job, as the job object shows it."""

    name: str
    model: str
    version: str = ""
    #: Rows or items that were run.
    items: int = 0
    #: From the asking until the first of them began, and until the last was done from then on, milliseconds.
    queue_ms: float = 0.0
    compute_ms: float = 0.0


class _Job:
    """A job under way."""

    def __init__(self, item: wire.Item, call: Call, graph: Graph) -> None:
        self.item = item
        self.call = call
        self.course = Course(graph, call.inputs)
        self.times: dict[str, StepTimes] = {}
        self.open: set[int] = set()


class _Asked(NamedTuple):
    job: str
    due: Due


class Conductor:
    """`read` gives a job's inputs and parameters, `write` makes a result of outputs; both raise PenstockError."""

    def __init__(
        self,
        manifest: Manifest,
        graph: Graph,
        handler: Handler,
        *,
        read: Callable[[wire.Item], Call],
        write: Callable[[Batch, wire.Item], wire.Result],
        failure: Callable[[PenstockError], wire.Result],
    ) -> None:
        self._manifest = manifest
        self._graph = graph
        self._handler = handler
        self._read, self._write, self._failure = read, write, failure
        self._jobs: dict[str, _Job] = {}
        self._asked: dict[int, _Asked] = {}
        self._numbers = count(1)

    def handle(self, message: stepwire.Down) -> Iterator[stepwire.Up]:
        """What there is to say to a message."""
        if isinstance(message, stepwire.Drop):
            for id in message.ids:
                self._forget(id)
        elif isinstance(message, stepwire.Begin):
            for item in message.items:
                yield from self._guarded(item, partial(self._begin, item))
        else:
            for id, made in by_job(message.made, self._asked).items():
                job = self._jobs[id]
                yield from self._guarded(job.item, partial(self._take, job, made))

    def _guarded(self, item: wire.Item, step: Callable[[], list[stepwire.Up]]) -> list[stepwire.Up]:
        try:
            return step()
        # One job's trouble, whatever it is, must not end the process that holds its neighbours.
        except Exception as error:  # noqa: BLE001 - becomes the job's outcome
            return [self._end(item, self._failure(translate(error, self._manifest.name)))]

    def _begin(self, item: wire.Item) -> list[stepwire.Up]:
        # A job that comes once more has another token; what was under way for it is void.
        self._forget(item.id)
        job = self._jobs[item.id] = _Job(item, self._read(item), self._graph)
        return self._go_on(job)

    def _take(self, job: _Job, made: Sequence[stepwire.Made]) -> list[stepwire.Up]:
        for one in made:
            due = self._asked.pop(one.call).due
            job.open.discard(one.call)
            note(job.times[due.step], one)
            if one.result.error:
                return [self._end(job.item, in_step(due.step, one.result))]
            if one.result.tensors is None:
                raise ModelError(f"step {due.step!r}: no tensors came back")
            job.course.take(due.step, due.number, unpack(one.result.tensors))
        return self._go_on(job)

    def _go_on(self, job: _Job) -> list[stepwire.Up]:
        calls = [self._ask(job, due) for due in job.course.advance()]
        if calls:
            return [stepwire.Asked(calls)]
        if not job.course.ended:
            return []
        return [self._end(job.item, self._write(self._outputs(job), job.item))]

    def _ask(self, job: _Job, due: Due) -> stepwire.Call:
        step, model = self._graph.nodes[due.step][:2]
        measured = measure_rows(model, due.call.tensors)
        rows = len(due.call.units)
        job.times.setdefault(step.name, StepTimes(step.name, step.model)).items += rows
        tensors = pack(due.call.tensors)
        number = next(self._numbers)
        self._asked[number] = _Asked(job.item.id, due)
        job.open.add(number)
        return stepwire.Call(
            number=number,
            job=job.item.id,
            step=step.name,
            model=step.model,
            version="" if step.version is None else str(step.version),
            rows=rows,
            weight=measured.weight,
            shape=measured.shape,
            tensors=tensors,
            parameters=msgspec.json.encode(job.call.parameters),
        )

    def _outputs(self, job: _Job) -> Batch:
        made: Any = job.course.results()
        if self._handler.postprocess:
            made = self._handler.postprocess(made, job.call.parameters)
        return outputs.validate(self._manifest, made, row_count(job.call.inputs))

    def _end(self, item: wire.Item, result: wire.Result) -> stepwire.Ended:
        job = self._forget(item.id)
        times = list(job.times.values()) if job else []
        return stepwire.Ended(item.id, item.token, msgspec.structs.replace(result, steps=msgspec.json.encode(times)))

    def _forget(self, id: str) -> _Job | None:
        job = self._jobs.pop(id, None)
        if job:
            for number in job.open:
                self._asked.pop(number, None)
        return job


def by_job(made: Sequence[stepwire.Made], asked: dict[int, _Asked]) -> dict[str, list[stepwire.Made]]:
    """Results by the job that waits for them; those that nobody waits for any more are left out."""
    found: dict[str, list[stepwire.Made]] = {}
    for one in made:
        if one.call in asked:
            found.setdefault(asked[one.call].job, []).append(one)
    return found


def note(times: StepTimes, made: stepwire.Made) -> None:
    """Count a call in: calls of one step wait and run side by side."""
    ended_ms = max(times.queue_ms + times.compute_ms, made.queue_ms + made.compute_ms)
    first = not times.version
    times.queue_ms = round(made.queue_ms if first else min(times.queue_ms, made.queue_ms), 3)
    times.compute_ms = round(ended_ms - times.queue_ms, 3)
    times.version = made.version or times.version


def in_step(step: str, result: wire.Result) -> wire.Result:
    """A step's failure as the job's, saying which step it was."""
    problem = msgspec.json.decode(result.error)
    problem["detail"] = f"step {step!r}: {problem.get('detail', '')}"
    return msgspec.structs.replace(result, error=msgspec.json.encode(problem))
