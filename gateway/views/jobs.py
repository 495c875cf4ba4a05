"""Submitting one job and looking at it."""

import math
import time
from hashlib import blake2b

from errors import PenstockError
from gateway import bodies
from gateway.accepting import Idempotency, Prepared
from gateway.answers import encode
from gateway.asked import Asked, Reply
from gateway.asking import asked_wait, base_url, permitted, preferred_wait, read_job, traceparent
from gateway.idempotency import asked_key, idempotency
from gateway.job_forms import JobForm
from gateway.parts import Parts
from gateway.rendering import render
from gateway.routes import Answer, Body, Parameter, Route
from gateway.submission import Submission, decode, read_inputs
from gateway.submitting import Submitted
from gateway.suspending import blocking
from gateway.waiting import Waiter
from storage.job import Job, Status
from tasks.job_object import JobObject
from tasks.message import new_id

_JOB = {"application/json": JobObject}
#: The form's schema: a submission's fields, and files.
FORM = {
    "type": "object",
    "properties": {"model": {"type": "string"}, "inputs": {"type": "string", "description": "JSON"}},
    "required": ["model"],
    "additionalProperties": {"type": "string", "format": "binary"},
}


class JobViews:
    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    async def submit(self, asked: Asked) -> Reply:
        kind = bodies.require(asked.environ, "application/json", "multipart/form-data")
        prepared, key = await (self.read_json(asked) if kind == "application/json" else self.read_form(asked))
        self.parts.waiting.expect(prepared.record.id, asked.tenant)
        wait_s = preferred_wait(asked.environ)
        if not wait_s:
            return self.accepted(asked, await self.parts.submitter.submit(prepared, key))
        with self.parts.waiting.watch(prepared.record.id) as waiter:
            submitted = await self.parts.submitter.submit(prepared, key)
            if not submitted.replayed:
                submitted = submitted._replace(
                    job=await self.end(waiter, asked, submitted.job.id, wait_s, submitted.job)
                )
        if submitted.replayed:
            with self.parts.waiting.watch(submitted.job.id) as waiter:
                submitted = submitted._replace(job=await self.end(waiter, asked, submitted.job.id, wait_s))
        return self.accepted(asked, submitted, {"Preference-Applied": f"wait={wait_s}"})

    async def read_json(self, asked: Asked) -> tuple[Prepared, Idempotency | None]:
        key = asked_key(asked.environ)
        submission = decode(bodies.read(asked.environ, self.parts.settings.max_body_bytes))
        inputs = read_inputs(submission)
        prepared = await self.parts.submitter.prepare(
            submission, inputs, tenant=asked.tenant, traceparent=traceparent(asked.environ)
        )
        return prepared, idempotency(key, submission, inputs) if key else None

    async def read_form(self, asked: Asked) -> tuple[Prepared, Idempotency | None]:
        key, parts, id = asked_key(asked.environ), self.parts, new_id()
        max_bytes = parts.settings.max_body_bytes
        form = JobForm(parts.inputs, parts.resolver, tenant=asked.tenant, job=id, max_bytes=max_bytes)
        try:
            # Files are stored as they arrive: a form comes in a thread.
            submission, inputs = form.read(bodies.chunks(asked.environ, max_bytes))
            prepared = await parts.submitter.prepare(
                submission,
                inputs,
                tenant=asked.tenant,
                id=id,
                moved=form.moved,
                traceparent=traceparent(asked.environ),
                entry=form.entry,
            )
        except PenstockError:
            parts.inputs.erase(form.moved)
            raise
        return prepared, idempotency(key, submission, inputs) if key else None

    def accepted(self, asked: Asked, submitted: Submitted, headers: dict[str, str] | None = None) -> Reply:
        shown = render(
            submitted.job,
            base=base_url(self.parts, asked.environ),
            register=self.parts.register,
            message=submitted.message,
            position=submitted.position,
        )
        sent = {"Location": shown.urls.self, **(headers or {})}
        if submitted.replayed:
            sent["Idempotency-Replayed"] = "true"
        return Reply(200 if submitted.job.terminal else 202, encode(shown), sent)

    async def get(self, asked: Asked, id: str) -> Reply:
        wait_s = asked_wait(asked.environ)
        if wait_s:
            with self.parts.waiting.watch(id) as waiter:
                job = await self.end(waiter, asked, id, wait_s)
        else:
            job = await read_job(self.parts, id, tenant=asked.tenant)
        return conditional(asked, await self.show(asked, job), job)

    async def show(self, asked: Asked, job: Job) -> JobObject:
        position = None
        if job.status is Status.QUEUED:
            position = await blocking(lambda: self.parts.jobs.position(job))
        return render(job, base=base_url(self.parts, asked.environ), register=self.parts.register, position=position)

    async def end(self, waiter: Waiter | None, asked: Asked, id: str, wait_s: float, job: Job | None = None) -> Job:
        """The job at its end, or as it is after `wait_s` seconds; `job`: as it is known to be now."""
        waiting, tenant, deadline = self.parts.waiting, asked.tenant, time.monotonic() + wait_s
        if job is None and not (waiter and waiting.expected(id, tenant)):
            job = await read_job(self.parts, id, tenant=tenant)
        while job is None or not job.terminal:
            if waiter is None or waiting.closed or not await waiter.within(deadline - time.monotonic()):
                return await read_job(self.parts, id, tenant=tenant)
            job = waiter.job and permitted(waiter.job, id, tenant=tenant)
            job = job or await read_job(self.parts, id, tenant=tenant)
        return job


def conditional(asked: Asked, shown: JobObject, job: Job) -> Reply:
    """The job with its entity tag; 304 where the client has just this (RFC 9110, 13.1.2)."""
    body = encode(shown)
    tag = f'"{blake2b(body, digest_size=12).hexdigest()}"'
    headers = {"ETag": tag}
    if not job.terminal:
        eta_s = shown.queue.eta_s if shown.queue else None
        headers["Retry-After"] = str(max(1, math.ceil(eta_s or 1)))
    given = asked.environ.get("HTTP_IF_NONE_MATCH", "")
    if given and (given.strip() == "*" or tag in [one.strip().removeprefix("W/") for one in given.split(",")]):
        return Reply(304, b"", headers, "")
    return Reply(200, body, headers)


def routes(parts: Parts) -> list[Route]:
    views = JobViews(parts)
    return [
        Route(
            method="POST", path="/v1/jobs", view=views.submit, name="submitJob", tag="jobs", quick=True,
            scope="submit",
            summary="Submit a job",
            description=(
                "Accepted means: the store has its record and the broker has confirmed its message. As a form, each "
                "file is the input of its field's name (with one input, any name serves), and the submission's own "
                "fields are form fields."
            ),
            parameters=(
                Parameter(name="Idempotency-Key", where="header", description=(
                    "The same key and the same body: the same job, in whatever state. Kept for 24 hours."
                )),
                Parameter(name="Prefer", where="header", description=(
                    "`wait=N`: answer with the finished job if it finishes in N seconds, 60 at most."
                )),
                Parameter(name="traceparent", where="header", description="W3C Trace Context."),
            ),
            body=Body(content={"application/json": Submission, "multipart/form-data": FORM}),
            answers={
                200: Answer(description="Finished within the time of `Prefer: wait`", content=_JOB),
                202: Answer(description="Accepted", content=_JOB, headers={"Location": "the job"}),
            },
            errors=(
                "invalid_input", "malformed_body", "unknown_model", "payload_too_large", "unsupported_media_type",
                "idempotency_mismatch", "queue_full", "broker_unavailable", "store_unavailable", "objects_unavailable",
            ),
        ),
        Route(
            method="GET", path="/v1/jobs/<id>", view=views.get, name="getJob", tag="jobs", quick=True,
            scope="read",
            summary="A job",
            parameters=(
                Parameter(
                    name="wait", schema={"type": "number", "minimum": 0, "maximum": 60},
                    description="Seconds to hold the answer back until the job has ended.",
                ),
                Parameter(name="If-None-Match", where="header", description="An `ETag` from before."),
            ),
            answers={
                200: Answer(description="The job", content=_JOB, headers={
                    "ETag": "names this very state of it", "Retry-After": "seconds; while it has not ended",
                }),
                304: Answer(description="As it was"),
            },
            errors=("not_found", "result_expired", "store_unavailable"),
        ),
    ]  # fmt: skip
