"""`client.jobs`: submit, watch, collect, cancel."""

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
    PenstockError,
    StillRunning,
    UnexpectedAnswer,
    answer_error,
)
from penstock.inputs import Upload
from penstock.job import Job
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
#: The gateway's limit of submissions in one body.
BATCH = 1000
JSON = {"Content-Type": "application/json"}

#: For each submission its job, or why it was refused. (Inside `Jobs`, `list` is a method.)
Outcomes = list[Job | PenstockError]


class Jobs:
    """The jobs of this client's tenant. A `Job` does where an id is asked for."""

    def __init__(self, transport: "Transport", upload: Upload) -> None:
        self._transport = transport
        self._upload = upload

    def submit(
        self,
        model: str,
        inputs: Mapping[str, Any],
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
        """Queue a job; it is durable once this returns.

        Values of `inputs` may be JSON values, bytes, `pathlib.Path`s and arrays. With `wait_s` the
        job returned has ended, or that many seconds have passed. Every call has an Idempotency-Key
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
        """Queue many jobs, 1,000 a request: for each, in order, its job or why it was refused."""
        outcomes: Outcomes = []
        rest = iter(submissions)
        while chunk := list(islice(rest, BATCH)):
            outcomes += self._submit_chunk(chunk)
        return outcomes

    def _submit_chunk(self, chunk: Sequence[Submission]) -> Outcomes:
        body = to_json([document(submission, self._upload) for submission in chunk])
        headers = JSON | {"Idempotency-Key": str(uuid4())}
        answer = self._transport.send("POST", "/v1/jobs:batch", headers=headers, body=lambda: body)
        outcomes = [outcome(item) for item in rows(answer.json())]
        if len(outcomes) != len(chunk):
            raise UnexpectedAnswer(f"{len(chunk)} submissions got {len(outcomes)} outcomes")
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

    def result(self, job: Job | str) -> dict[str, Any]:
        """The outputs of a job that succeeded, large ones included.

        Raises the job's failure (a JobFailure), NotReady before the end, ResultExpired after the
        result was erased.
        """
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


def rows(page: Any) -> list[Any]:
    if not isinstance(page, dict) or not isinstance(page.get("data"), list):
        raise UnexpectedAnswer("the answer is no list: is this address a Penstock gateway?")
    return list(page["data"])


def outcome(item: Mapping[str, Any]) -> Job | PenstockError:
    """One row of a batch's answer: a job, or the problem document that refused it."""
    if problem := item.get("error"):
        return answer_error(problem, status=int(problem.get("status", 500)))
    return Job.parse(item.get("job", item))
