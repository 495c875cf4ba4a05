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
from penstock.aio.models import AsyncModels
from penstock.aio.submission import document
from penstock.errors import (
    AlreadyTerminal,
    InvalidInput,
    InvalidJobInput,
    JobCanceled,
    NotThere,
    PenstockError,
    StillRunning,
    UnexpectedAnswer,
)
from penstock.events import JobEvent, Parser
from penstock.inputs import Inputs
from penstock.job import Job
from penstock.jobs import (
    AGAIN_S,
    BATCH,
    BATCH_BYTES,
    EARLY_PAUSE_S,
    EARLY_S,
    JSON,
    LONG_POLL_S,
    OUTAGE_S,
    SILENCE_S,
    Outcomes,
    id_of,
    outcome,
    parse_job,
    parsed,
    path,
    rows,
)
from penstock.models import Tensor
from penstock.results import as_numpy as to_numpy
from penstock.retry import seconds
from penstock.submission import Priority, Submission, to_json

if TYPE_CHECKING:
    from penstock.aio.transport import AsyncTransport


class AsyncJobs:
    """The jobs of this client's tenant. A `Job` does where an id is asked for."""

    def __init__(self, transport: "AsyncTransport", upload: Upload) -> None:
        self._transport = transport
        self._upload = upload
        self._models = AsyncModels(transport)
        #: Model and version to its outputs.
        self._declared: dict[tuple[str, str | None], tuple[Tensor, ...]] = {}

    async def submit(
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

            job = await client.jobs.submit("ocr", {"image": Path("page.png")}, metadata={"order": "A-17"})

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
        """Queue many jobs, up to 1,000 a request: for each, in order, its job or why it was refused::

        outcomes = client.jobs.submit_many({"model": "minilm", "inputs": {"text": text}} for text in texts)
        refused = [outcome for outcome in outcomes if not isinstance(outcome, Job)]
        """
        outcomes: Outcomes = []
        texts: list[bytes] = []
        for submission in submissions:
            try:
                text = to_json(await document(submission, self._upload))
            except InvalidInput as error:
                # Its place among the outcomes is behind those of what is still to be sent.
                outcomes += await self._submit_texts(texts)
                outcomes.append(error)
                texts = []
                continue
            if len(texts) == BATCH or sum(map(len, texts)) + len(text) > BATCH_BYTES:
                outcomes += await self._submit_texts(texts)
                texts = []
            texts.append(text)
        return outcomes + await self._submit_texts(texts)

    async def _submit_texts(self, texts: Sequence[bytes]) -> Outcomes:
        """Submissions as they travel, in one request."""
        if not texts:
            return []
        body = b"[" + b",".join(texts) + b"]"
        headers = JSON | {"Idempotency-Key": str(uuid4())}
        answer = await self._transport.send("POST", "/v1/jobs:batch", headers=headers, body=lambda: body)
        outcomes = [outcome(item) for item in rows(answer.json())]
        if len(outcomes) != len(texts):
            raise UnexpectedAnswer(f"{len(texts)} submissions got {len(outcomes)} outcomes")
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

    async def collect(self, jobs: Iterable[Job | str], *, wait_s: float = 0.0) -> dict[str, Job | PenstockError]:
        """Those of up to 1,000 jobs that have ended, by id, in one request; in place of one that is gone, why.

        Waits for the first end for `wait_s` seconds (60 at most). `as_completed` asks until all have ended.
        """
        ids = [id_of(job) for job in jobs]
        body = to_json({"ids": ids, "wait_s": wait_s})
        answer = await self._transport.send(
            "POST", "/v1/jobs:collect", headers=JSON, body=lambda: body, wait_s=wait_s, patience_s=OUTAGE_S
        )
        return {str(item.get("id")): outcome(item) for item in rows(answer.json())}

    async def as_completed(self, jobs: Iterable[Job | str], timeout_s: float | None = None) -> AsyncIterator[Job]:
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
            found = await self.collect(asked, wait_s=held)
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
                await self._transport.sleep(min(EARLY_PAUSE_S, until - clock()))

    async def events(self, job: Job | str, *, last_event_id: str = "") -> AsyncIterator[JobEvent]:
        """The job at each change of its state, beginning with the one it is in, up to its end::

            async for event in client.jobs.events(job):
                print(event.id, event.job.status)

        Goes on where it was when the connection breaks, or the farm restarts. `last_event_id`: what happened up to that
        event is not told again.
        """
        seen, tries, since = last_event_id, 0, 0.0
        while True:
            before, parser = seen, Parser()
            headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": seen} if seen else {})
            try:
                async for line in self._transport.lines(path(job, "/events"), headers=headers, silence_s=SILENCE_S):
                    event = parser.feed(line)
                    if event is None or event.name != "job":
                        continue
                    told = JobEvent(event.id, parse_job(event.data))
                    seen, tries = event.id, 0
                    yield told
                    if told.job.done:
                        return
                # The gateway ends a stream after a while; one without news may be of a job that has ended.
                if seen == before and (await self.get(job)).done:
                    return
                await self._transport.sleep(AGAIN_S)
            except PenstockError as error:
                tries, since = tries + 1, since if tries else self._transport.clock()
                await self._transport.pause(error, tries=tries, since=since, patience_s=OUTAGE_S if seen else None)

    async def result(self, job: Job | str, *, as_numpy: bool = False) -> dict[str, Any]:
        """The outputs of a job that succeeded, large ones included.

        With `as_numpy` numbers are arrays in the datatypes that the model declares. Raises the job's failure (a
        JobFailure), NotReady before the end, ResultExpired after the result was erased.
        """
        if not as_numpy:
            return await self._result(job)
        found = job if isinstance(job, Job) else await self.get(job)
        outputs = await self._result(job) if found.outputs is None else found.outputs
        return to_numpy(outputs, await self._outputs_of(found.model, found.version))

    async def only_input(self, model: str, version: str | None = None) -> str:
        """The name of a model's input, where it has just one; raises InvalidInput."""
        names = [tensor.name for tensor in (await self._models.get(model, version)).inputs]
        if len(names) != 1:
            raise InvalidInput(f"{model} has the inputs {', '.join(names)}: give each item as a mapping of their names")
        return names[0]

    async def _outputs_of(self, model: str, version: str | None) -> tuple[Tensor, ...]:
        """What a version of a model declares, asked for once; nothing where it is not there any more."""
        if (model, version) not in self._declared:
            try:
                self._declared[model, version] = (await self._models.get(model, version)).outputs
            except NotThere:
                return ()
        return self._declared[model, version]

    async def _result(self, job: Job | str) -> dict[str, Any]:
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
            for yielded in (Job.parse(item) for item in rows(page)):
                yield yielded
            if not (cursor := page.get("next_cursor")):
                return
            query["cursor"] = cursor
