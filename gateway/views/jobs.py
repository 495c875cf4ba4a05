"""Submitting one job and looking at it."""

import math
import re
import time
from collections.abc import Callable
from hashlib import blake2b

from flask import Response, g, request

from gateway import bodies
from gateway.answers import answer, encode
from gateway.asking import asked_wait, base_url, own_job, preferred_wait
from gateway.parts import Parts
from gateway.rendering import JobObject, render
from gateway.routes import Answer, Body, Route
from gateway.submission import Submission, decode, read_inputs
from gateway.submitting import Prepared, Submitted
from gateway.waiting import Waiter
from storage.job import Job, Status

#: W3C Trace Context, https://www.w3.org/TR/trace-context/#traceparent-header
TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class JobViews:
    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    def submit(self) -> Response:
        prepared = self.prepare()
        wait_s = preferred_wait()
        if not wait_s:
            return self.accepted(self.parts.submitter.submit(prepared))
        with self.parts.waiting.watch(prepared.record.id) as waiter:
            submitted = self.parts.submitter.submit(prepared)
            job = self.end(waiter, lambda: own_job(self.parts, submitted.job.id), wait_s, submitted.job)
        return self.accepted(submitted._replace(job=job), {"Preference-Applied": f"wait={wait_s}"})

    def prepare(self) -> Prepared:
        bodies.require("application/json")
        submission = decode(bodies.read(self.parts.settings.max_body_bytes))
        return self.parts.submitter.prepare(
            submission, read_inputs(submission), tenant=g.tenant, traceparent=traceparent()
        )

    def accepted(self, submitted: Submitted, headers: dict[str, str] | None = None) -> Response:
        shown = render(
            submitted.job,
            base=base_url(self.parts),
            register=self.parts.register,
            message=submitted.message,
            position=submitted.position,
        )
        return answer(shown, 200 if submitted.job.terminal else 202, {"Location": shown.urls.self, **(headers or {})})

    def get(self, id: str) -> Response:
        wait_s = asked_wait()
        if wait_s:
            with self.parts.waiting.watch(id) as waiter:
                job = self.end(waiter, lambda: own_job(self.parts, id), wait_s)
        else:
            job = own_job(self.parts, id)
        return conditional(self.show(job), job)

    def show(self, job: Job) -> JobObject:
        position = self.parts.jobs.position(job) if job.status is Status.QUEUED else None
        return render(job, base=base_url(self.parts), register=self.parts.register, position=position)

    def end(self, waiter: Waiter | None, read: Callable[[], Job], wait_s: float, job: Job | None = None) -> Job:
        """The job at its end, or as it is after `wait_s` seconds; `job`: as it is known to be now."""
        deadline = time.monotonic() + wait_s
        job = job or read()
        while not job.terminal and waiter is not None and not self.parts.waiting.closed:
            if not waiter.wait(deadline - time.monotonic()):
                break
            job = read()
        return job


def conditional(shown: JobObject, job: Job) -> Response:
    """The job with its entity tag; 304 where the client has just this (RFC 9110, 13.1.2)."""
    body = encode(shown)
    tag = f'"{blake2b(body, digest_size=12).hexdigest()}"'
    headers = {"ETag": tag}
    if not job.terminal:
        eta_s = shown.queue.eta_s if shown.queue else None
        headers["Retry-After"] = str(max(1, math.ceil(eta_s or 1)))
    given = request.environ.get("HTTP_IF_NONE_MATCH", "")
    if given and (given.strip() == "*" or tag in [one.strip().removeprefix("W/") for one in given.split(",")]):
        return Response(status=304, headers=headers)
    return Response(body, 200, headers, content_type="application/json")


def traceparent() -> str:
    given: str = request.environ.get("HTTP_TRACEPARENT", "")
    return given if TRACEPARENT.fullmatch(given) else ""


def routes(parts: Parts) -> list[Route]:
    views = JobViews(parts)
    return [
        Route(
            method="POST", path="/v1/jobs", view=views.submit, name="submitJob", tag="jobs",
            summary="Submit a job",
            body=Body(content={"application/json": Submission}),
            answers={202: Answer(description="Accepted", content={"application/json": JobObject})},
        ),
        Route(
            method="GET", path="/v1/jobs/<id>", view=views.get, name="getJob", tag="jobs",
            summary="A job",
            answers={200: Answer(description="The job", content={"application/json": JobObject})},
        ),
    ]  # fmt: skip
