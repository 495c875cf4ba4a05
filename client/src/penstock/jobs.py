"""`client.jobs`: submit, watch, collect, cancel."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import uuid4

from penstock.errors import (
    AlreadyTerminal,
    InvalidInput,
    InvalidJobInput,
    JobCanceled,
    NotThere,
    PenstockError,
    StillRunning,
    UnexpectedAnswer,
    answer_error,
)
from penstock.events import JobEvent, Parser
from penstock.inputs import Inputs, Upload
from penstock.job import Job
from penstock.models import Models, Tensor
from penstock.results import as_numpy as to_numpy
from penstock.retry import seconds
from penstock.submission import Priority, Submission, document, to_json

if TYPE_CHECKING:
    from penstock.transport import Answer, Transport

#: One long poll; well under the minute after which many proxies cut an idle connection.
LONG_POLL_S = 30.0
#: A gateway that answers a long poll this much too early, the job unfinished, is not asked again at once.
EARLY_S = 0.5
EARLY_PAUSE_S = 1.0
#: A wait that has been answered once outlives an outage (a restart, a deployment) of this length.
OUTAGE_S = 120.0
#: The gateway's limit of submissions in one body, and about half of what one may hold, bytes.
BATCH, BATCH_BYTES = 1000, 16 * 2**20
#: Between two signs of life in a stream of events, seconds, and before the next stream is opened.
SILENCE_S, AGAIN_S = 15.0, 1.0
JSON = {"Content-Type": "application/json"}

#: For each submission its job, or why it was refused. (Inside `Jobs`, `list` is a method.)
Outcomes = list[Job | PenstockError]


class Jobs:
    """The jobs of this client's tenant. A `Job` does where an id is asked for."""

    def __init__(self, transport: "Transport", upload: Upload) -> None:
        self._transport = transport
        self._upload = upload
        self._models = Models(transport)
        #: Model and version to its outputs.
        self._declared: dict[tuple[str, str | None], tuple[Tensor, ...]] = {}

    def submit(
        self,
        model: str,
        inputs: Inputs,
        *,
        version: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        priority: Priority = "normal",
        queue_ttl_s: float | None = None,
        timeout_s: float | None = None,
        deadline: datetime | str | None = None,
        max_attempts: int | None = None,
        result_ttl_s: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        webhook: str | Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        wait_s: float | None = None,
    ) -> Job:
        """Queue a job; it is durable once this returns::

            job = client.jobs.submit("ocr", {"image": Path("page.png")}, metadata={"order": "A-17"})

        Values of `inputs` may be JSON values, bytes, `pathlib.Path`s, numpy arrays, CPU tensors, columns of pandas and
        polars, and PIL pictures; a table in place of `inputs` gives each column to the input of its name. With `wait_s`
        the job returned has ended, or that many seconds have passed. Every call has an Idempotency-Key
        of its own unless one is given, so that a repetition after a lost answer finds the same job.
        (With a key of your own, upload large files once yourself: another upload is another body.)
        """
        submission: Submission = {
            "model": model,
            "inputs": inputs,
            "version": version,
            "parameters": parameters,
            "priority": priority,
            "queue_ttl_s": queue_ttl_s,
            "timeout_s": timeout_s,
            "deadline": deadline,
            "max_attempts": max_attempts,
            "result_ttl_s": result_ttl_s,
            "metadata": metadata,
            "webhook": webhook,
        }
        return self.submit_one(submission, idempotency_key=idempotency_key, wait_s=wait_s)

    def submit_one(
        self, submission: Submission, *, idempotency_key: str | None = None, wait_s: float | None = None
    ) -> Job:
        """Queue the job that a mapping describes; keys that this version does not know are sent as they are."""
        if idempotency_key and not idempotency_key.isascii():
            raise InvalidInput("an idempotency key travels in a header: use ASCII characters")
        body = to_json(document(submission, self._upload))
        until = self._transport.clock() + (wait_s or 0.0)
        held = min(wait_s or 0.0, LONG_POLL_S)
        headers = JSON | {"Idempotency-Key": idempotency_key or str(uuid4())}
        if held >= 1:
            headers["Prefer"] = f"wait={int(held)}"
        job = parsed(self._transport.send("POST", "/v1/jobs", headers=headers, body=lambda: body, wait_s=held))
        left = until - self._transport.clock()
        return job if job.done or left <= 0 else self._watch(job.id, left, patience_s=OUTAGE_S)

    def submit_many(self, submissions: Iterable[Submission]) -> Outcomes:
        """Queue many jobs, up to 1,000 a request: for each, in order, its job or why it was refused::

        outcomes = client.jobs.submit_many({"model": "minilm", "inputs": {"text": text}} for text in texts)
        refused = [outcome for outcome in outcomes if not isinstance(outcome, Job)]
        """
        outcomes: Outcomes = []
        texts: list[bytes] = []
        for submission in submissions:
            try:
                text = to_json(document(submission, self._upload))
            except InvalidInput as error:
                # Its place among the outcomes is behind those of what is still to be sent.
                outcomes += self._submit_texts(texts)
                outcomes.append(error)
                texts = []
                continue
            if len(texts) == BATCH or sum(map(len, texts)) + len(text) > BATCH_BYTES:
                outcomes += self._submit_texts(texts)
                texts = []
            texts.append(text)
        return outcomes + self._submit_texts(texts)

    def _submit_texts(self, texts: Sequence[bytes]) -> Outcomes:
        """Submissions as they travel, in one request."""
        if not texts:
            return []
        body = b"[" + b",".join(texts) + b"]"
        headers = JSON | {"Idempotency-Key": str(uuid4())}
        answer = self._transport.send("POST", "/v1/jobs:batch", headers=headers, body=lambda: body)
        outcomes = [outcome(item) for item in rows(answer.json())]
        if len(outcomes) != len(texts):
            raise UnexpectedAnswer(f"{len(texts)} submissions got {len(outcomes)} outcomes")
        return outcomes

    def get(self, job: Job | str, *, wait_s: float | None = None) -> Job:
        """The job as it is now; with `wait_s`, as it is when it ends or that many seconds have passed."""
        if wait_s:
            return self._watch(id_of(job), wait_s)
        return parsed(self._transport.send("GET", path(job)))

    def wait(self, job: Job | str, timeout_s: float | None = None) -> Job:
        """The job once it has ended, however; raises StillRunning after `timeout_s` (None: no limit)."""
        found = self._watch(id_of(job), math.inf if timeout_s is None else timeout_s)
        if not found.done:
            raise StillRunning(f"{found.id} is {found.status} after {timeout_s:g} s")
        return found

    def _watch(self, job_id: str, wait_s: float, *, patience_s: float | None = None) -> Job:
        clock = self._transport.clock
        until = clock() + wait_s
        while True:
            began = clock()
            held = max(0.0, min(until - began, LONG_POLL_S))
            answer = self._transport.send(
                "GET", path(job_id), query={"wait": f"{held:.3f}"}, wait_s=held, patience_s=patience_s
            )
            job = parsed(answer)
            now = clock()
            if job.done or now >= until:
                return job
            patience_s = OUTAGE_S
            if now - began < held - EARLY_S:
                pause = seconds(answer.headers.get("Retry-After", "")) or EARLY_PAUSE_S
                self._transport.sleep(min(pause, until - now))

    def collect(self, jobs: Iterable[Job | str], *, wait_s: float = 0.0) -> dict[str, Job | PenstockError]:
        """Those of up to 1,000 jobs that have ended, by id, in one request; in place of one that is gone, why.

        Waits for the first end for `wait_s` seconds (60 at most). `as_completed` asks until all have ended.
        """
        ids = [id_of(job) for job in jobs]
        body = to_json({"ids": ids, "wait_s": wait_s})
        answer = self._transport.send(
            "POST", "/v1/jobs:collect", headers=JSON, body=lambda: body, wait_s=wait_s, patience_s=OUTAGE_S
        )
        return {str(item.get("id")): outcome(item) for item in rows(answer.json())}

    def as_completed(self, jobs: Iterable[Job | str], timeout_s: float | None = None) -> Iterator[Job]:
        """The jobs, each as soon as it has ended, however; raises StillRunning after `timeout_s` (None: no limit)::

        for job in client.jobs.as_completed(jobs):
            print(job.id, job.status)
        """
        clock = self._transport.clock
        until = math.inf if timeout_s is None else clock() + timeout_s
        waiting = dict.fromkeys(id_of(job) for job in jobs)
        while waiting:
            asked = [*islice(waiting, BATCH)]
            began = clock()
            # Where there are more than one request may name, no thousand keeps the others waiting for long.
            held = max(0.0, min(until - began, LONG_POLL_S if len(asked) == len(waiting) else 1.0))
            found = self.collect(asked, wait_s=held)
            for id in asked:
                waiting.pop(id)
                if id not in found:
                    waiting[id] = None
                elif isinstance(one := found[id], PenstockError):
                    raise one
                else:
                    yield one
            if waiting and clock() >= until:
                raise StillRunning(f"{len(waiting)} jobs have not ended after {timeout_s:g} s")
            if not found and clock() - began < held - EARLY_S:
                self._transport.sleep(min(EARLY_PAUSE_S, until - clock()))

    def events(self, job: Job | str, *, last_event_id: str = "") -> Iterator[JobEvent]:
        """The job at each change of its state, beginning with the one it is in, up to its end::

            for event in client.jobs.events(job):
                print(event.id, event.job.status)

        Goes on where it was when the connection breaks, or the farm restarts. `last_event_id`: what happened up to that
        event is not told again.
        """
        seen, tries, since = last_event_id, 0, 0.0
        while True:
            before, parser = seen, Parser()
            headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": seen} if seen else {})
            try:
                for line in self._transport.lines(path(job, "/events"), headers=headers, silence_s=SILENCE_S):
                    event = parser.feed(line)
                    if event is None or event.name != "job":
                        continue
                    told = JobEvent(event.id, parse_job(event.data))
                    seen, tries = event.id, 0
                    yield told
                    if told.job.done:
                        return
                # The gateway ends a stream after a while; one without news may be of a job that has ended.
                if seen == before and self.get(job).done:
                    return
                self._transport.sleep(AGAIN_S)
            except PenstockError as error:
                tries, since = tries + 1, since if tries else self._transport.clock()
                self._transport.pause(error, tries=tries, since=since, patience_s=OUTAGE_S if seen else None)

    def result(self, job: Job | str, *, as_numpy: bool = False) -> dict[str, Any]:
        """The outputs of a job that succeeded, large ones included.

        With `as_numpy` numbers are arrays in the datatypes that the model declares. Raises the job's failure (a
        JobFailure), NotReady before the end, ResultExpired after the result was erased.
        """
        if not as_numpy:
            return self._result(job)
        found = job if isinstance(job, Job) else self.get(job)
        outputs = self._result(job) if found.outputs is None else found.outputs
        return to_numpy(outputs, self._outputs_of(found.model, found.version))

    def only_input(self, model: str, version: str | None = None) -> str:
        """The name of a model's input, where it has just one; raises InvalidInput."""
        names = [tensor.name for tensor in self._models.get(model, version).inputs]
        if len(names) != 1:
            raise InvalidInput(f"{model} has the inputs {', '.join(names)}: give each item as a mapping of their names")
        return names[0]

    def _outputs_of(self, model: str, version: str | None) -> tuple[Tensor, ...]:
        """What a version of a model declares, asked for once; nothing where it is not there any more."""
        if (model, version) not in self._declared:
            try:
                self._declared[model, version] = self._models.get(model, version).outputs
            except NotThere:
                return ()
        return self._declared[model, version]

    def _result(self, job: Job | str) -> dict[str, Any]:
        try:
            found = self._transport.send("GET", path(job, "/result")).json()
        except InvalidInput as error:
            # Nothing in this request can be invalid: it is the job's own failure.
            raise InvalidJobInput(error.detail, errors=error.errors, request_id=error.request_id) from error
        except AlreadyTerminal as error:
            raise JobCanceled(error.detail, request_id=error.request_id) from error
        if not isinstance(found, dict):
            raise UnexpectedAnswer(f"the result of {id_of(job)} is no JSON object")
        return found

    def cancel(self, job: Job | str) -> Job:
        """Cancel: a queued job at once, a running one before its next batch; an ended one stays as it is."""
        return parsed(self._transport.send("POST", path(job, "/cancel")))

    def retry(self, job: Job | str) -> Job:
        """Run a failed, canceled or expired job again under the same id; raises AlreadyTerminal for others."""
        # Asked twice it could run twice: a lost answer is reported, not repeated.
        return parsed(self._transport.send("POST", path(job, "/retry"), repeatable=False))

    def delete(self, job: Job | str) -> None:
        """Erase the job's inputs and outputs."""
        self._transport.send("DELETE", path(job))

    def list(
        self,
        *,
        status: str | None = None,
        model: str | None = None,
        metadata: Mapping[str, str] | None = None,
        page_size: int = 100,
    ) -> Iterator[Job]:
        """All jobs that match, newest first; further pages are asked for as they are reached."""
        query: dict[str, str | int] = {"limit": page_size}
        query |= {name: value for name, value in (("status", status), ("model", model)) if value}
        query |= {f"metadata.{key}": value for key, value in (metadata or {}).items()}
        while True:
            page = self._transport.send("GET", "/v1/jobs", query=query).json()
            yield from (Job.parse(item) for item in rows(page))
            if not (cursor := page.get("next_cursor")):
                return
            query["cursor"] = cursor


def path(job: Job | str, action: str = "") -> str:
    return f"/v1/jobs/{quote(id_of(job), safe='')}{action}"


def id_of(job: Job | str) -> str:
    return job.id if isinstance(job, Job) else job


def parsed(answer: "Answer") -> Job:
    data = answer.json()
    if not isinstance(data, dict) or "id" not in data:
        raise UnexpectedAnswer(f"{answer.body[:60]!r} is no job: is this address a Penstock gateway?")
    return Job.parse(data)


def parse_job(text: str) -> Job:
    """A job object as an event carries it."""
    try:
        return Job.parse(json.loads(text))
    except (ValueError, TypeError) as error:
        raise UnexpectedAnswer(f"{text[:60]!r} is no job: is this address a Penstock gateway?") from error


def rows(page: Any) -> list[Any]:
    if not isinstance(page, dict) or not isinstance(page.get("data"), list):
        raise UnexpectedAnswer("the answer is no list: is this address a Penstock gateway?")
    return list(page["data"])


def outcome(item: Mapping[str, Any]) -> Job | PenstockError:
    """One row of a batch's answer: a job, or the problem document that refused it."""
    if problem := item.get("error"):
        return answer_error(problem, status=int(problem.get("status", 500)))
    return Job.parse(item.get("job", item))
