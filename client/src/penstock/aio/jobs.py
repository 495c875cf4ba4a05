"""`client.jobs`: submit, watch, collect, cancel.

Written by `python -m client.twin` from penstock.jobs: change that.
"""

import math
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from penstock.aio.inputs import Upload
from penstock.aio.submission import document
from penstock.errors import AlreadyTerminal, InvalidInput, InvalidJobInput, JobCanceled, StillRunning, UnexpectedAnswer
from penstock.job import Job
from penstock.jobs import (
    BATCH,
    EARLY_PAUSE_S,
    EARLY_S,
    JSON,
    LONG_POLL_S,
    OUTAGE_S,
    Outcomes,
    id_of,
    outcome,
    parsed,
    path,
    rows,
)
from penstock.retry import seconds
from penstock.submission import Priority, Submission, to_json

if TYPE_CHECKING:
    from penstock.aio.transport import AsyncTransport


class AsyncJobs:
    """The jobs of this client's tenant. A `Job` does where an id is asked for."""

    def __init__(self, transport: "AsyncTransport", upload: Upload) -> None:
        self._transport = transport
        self._upload = upload

    async def submit(
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
        return await self.submit_one(submission, idempotency_key=idempotency_key, wait_s=wait_s)

    async def submit_one(
        self, submission: Submission, *, idempotency_key: str | None = None, wait_s: float | None = None
    ) -> Job:
        """Queue the job that a mapping describes; keys that this version does not know are sent as they are."""
        if idempotency_key and not idempotency_key.isascii():
            raise InvalidInput("an idempotency key travels in a header: use ASCII characters")
        body = to_json(await document(submission, self._upload))
        until = self._transport.clock() + (wait_s or 0.0)
        held = min(wait_s or 0.0, LONG_POLL_S)
        headers = JSON | {"Idempotency-Key": idempotency_key or str(uuid4())}
        if held >= 1:
            headers["Prefer"] = f"wait={int(held)}"
        job = parsed(await self._transport.send("POST", "/v1/jobs", headers=headers, body=lambda: body, wait_s=held))
        left = until - self._transport.clock()
        return job if job.done or left <= 0 else await self._watch(job.id, left, patience_s=OUTAGE_S)

    async def submit_many(self, submissions: Iterable[Submission]) -> Outcomes:
        """Queue many jobs, 1,000 a request: for each, in order, its job or why it was refused."""
        outcomes: Outcomes = []
        rest = iter(submissions)
        while chunk := list(islice(rest, BATCH)):
            outcomes += await self._submit_chunk(chunk)
        return outcomes

    async def _submit_chunk(self, chunk: Sequence[Submission]) -> Outcomes:
        body = to_json([await document(submission, self._upload) for submission in chunk])
        headers = JSON | {"Idempotency-Key": str(uuid4())}
        answer = await self._transport.send("POST", "/v1/jobs:batch", headers=headers, body=lambda: body)
        outcomes = [outcome(item) for item in rows(answer.json())]
        if len(outcomes) != len(chunk):
            raise UnexpectedAnswer(f"{len(chunk)} submissions got {len(outcomes)} outcomes")
        return outcomes

    async def get(self, job: Job | str, *, wait_s: float | None = None) -> Job:
        """The job as it is now; with `wait_s`, as it is when it ends or that many seconds have passed."""
        if wait_s:
            return await self._watch(id_of(job), wait_s)
        return parsed(await self._transport.send("GET", path(job)))

    async def wait(self, job: Job | str, timeout_s: float | None = None) -> Job:
        """The job once it has ended, however; raises StillRunning after `timeout_s` (None: no limit)."""
        found = await self._watch(id_of(job), math.inf if timeout_s is None else timeout_s)
        if not found.done:
            raise StillRunning(f"{found.id} is {found.status} after {timeout_s:g} s")
        return found

    async def _watch(self, job_id: str, wait_s: float, *, patience_s: float | None = None) -> Job:
        clock = self._transport.clock
        until = clock() + wait_s
        while True:
            began = clock()
            held = max(0.0, min(until - began, LONG_POLL_S))
            answer = await self._transport.send(
                "GET", path(job_id), query={"wait": f"{held:.3f}"}, wait_s=held, patience_s=patience_s
            )
            job = parsed(answer)
            now = clock()
            if job.done or now >= until:
                return job
            patience_s = OUTAGE_S
            if now - began < held - EARLY_S:
                pause = seconds(answer.headers.get("Retry-After", "")) or EARLY_PAUSE_S
                await self._transport.sleep(min(pause, until - now))

    async def result(self, job: Job | str) -> dict[str, Any]:
        """The outputs of a job that succeeded, large ones included.

        Raises the job's failure (a JobFailure), NotReady before the end, ResultExpired after the
        result was erased.
        """
        try:
            found = (await self._transport.send("GET", path(job, "/result"))).json()
        except InvalidInput as error:
            # Nothing in this request can be invalid: it is the job's own failure.
            raise InvalidJobInput(error.detail, errors=error.errors, request_id=error.request_id) from error
        except AlreadyTerminal as error:
            raise JobCanceled(error.detail, request_id=error.request_id) from error
        if not isinstance(found, dict):
            raise UnexpectedAnswer(f"the result of {id_of(job)} is no JSON object")
        return found

    async def cancel(self, job: Job | str) -> Job:
        """Cancel: a queued job at once, a running one before its next batch; an ended one stays as it is."""
        return parsed(await self._transport.send("POST", path(job, "/cancel")))

    async def retry(self, job: Job | str) -> Job:
        """Run a failed, canceled or expired job again under the same id; raises AlreadyTerminal for others."""
        # Asked twice it could run twice: a lost answer is reported, not repeated.
        return parsed(await self._transport.send("POST", path(job, "/retry"), repeatable=False))

    async def delete(self, job: Job | str) -> None:
        """Erase the job's inputs and outputs."""
        await self._transport.send("DELETE", path(job))

    async def list(
        self,
        *,
        status: str | None = None,
        model: str | None = None,
        metadata: Mapping[str, str] | None = None,
        page_size: int = 100,
    ) -> AsyncIterator[Job]:
        """All jobs that match, newest first; further pages are asked for as they are reached."""
        query: dict[str, str | int] = {"limit": page_size}
        query |= {name: value for name, value in (("status", status), ("model", model)) if value}
        query |= {f"metadata.{key}": value for key, value in (metadata or {}).items()}
        while True:
            page = (await self._transport.send("GET", "/v1/jobs", query=query)).json()
            for each in (Job.parse(item) for item in rows(page)):
                yield each
            if not (cursor := page.get("next_cursor")):
                return
            query["cursor"] = cursor
