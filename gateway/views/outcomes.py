"""What comes of a job: its result, and a client's word on its further life."""

import msgspec
from flask import Response, g, request

from errors import PROBLEM_BASE, AlreadyTerminal, NotReady, ResultExpired
from gateway.answers import answer, bare, from_reply, whole
from gateway.asking import base_url, own_job
from gateway.inputs import job_prefix
from gateway.json_bodies import anything
from gateway.links import LINK_TTL_S
from gateway.parts import Parts
from gateway.problems import document
from gateway.quotas import too_many
from gateway.rendering import render
from gateway.routes import Answer, Route
from storage.clock import wall_ms
from storage.job import Job, Status
from tasks.job_object import JobObject
from tasks.message import decode, without_inputs
from tasks.webhooks.body import without_contents

#: Seconds that a client is told to wait for a result that is not there.
RETRY_AFTER_S = 1.0
_JOB = {"application/json": JobObject}


class OutcomeViews:
    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    def result(self, id: str) -> Response:
        job = own_job(self.parts, id)
        match job.status:
            case Status.SUCCEEDED if job.outputs_key:
                return bare(303, {"Location": self.link(job.outputs_key)})
            case Status.SUCCEEDED:
                return whole(job.outputs or b"{}")
            case Status.FAILED:
                return failure(job)
            case Status.CANCELED:
                raise AlreadyTerminal(f"job {id} was canceled and has no result")
            case Status.EXPIRED:
                raise ResultExpired(f"job {id} was not started in time and has no result")
            case _:
                raise NotReady(f"job {id} is {job.status.value}", retry_after_s=RETRY_AFTER_S)

    def link(self, key: str) -> str:
        """Where the caller can fetch the object `key` for a while."""
        direct = self.parts.objects.url(key, LINK_TTL_S)
        return direct or base_url(self.parts, request.environ) + self.parts.links.path(key, method="GET")

    def cancel(self, id: str) -> Response:
        self.parts.jobs.cancel(own_job(self.parts, id))
        return self.show(id)

    def retry(self, id: str) -> Response:
        job = own_job(self.parts, id)
        most = self.parts.toll.of(job.tenant).max_in_flight
        start_by_ms = decode(job.message).start_by_ms(wall_ms())
        before = self.parts.jobs.retry(job, start_by_ms=start_by_ms, in_flight=most)
        if before == "quota":
            raise too_many(job.tenant, most, most)
        if before not in ("failed", "canceled", "expired"):
            raise AlreadyTerminal(f"job {id} is {before}; only a failed, canceled or expired one can be retried")
        return self.show(id, 202)

    def delete(self, id: str) -> Response:
        job = own_job(self.parts, id)
        # Objects first: were the record gone, a second try would find nothing to erase them by.
        self.parts.objects.delete_prefix(job_prefix(g.tenant, id))
        self.parts.jobs.erase(job, reason="deleted", remains=without_inputs(job.message))
        self.parts.deliveries.forget(id, without_contents)
        return bare(204, {})

    def show(self, id: str, status: int = 200) -> Response:
        job = own_job(self.parts, id)
        shown = render(job, base=base_url(self.parts, request.environ), register=self.parts.register)
        if "read" not in g.scopes:
            # A key that may only submit learns here how the job stands, and not what came of it.
            shown = msgspec.structs.replace(shown, outputs=None, error=None)
        return answer(shown, status)


def failure(job: Job) -> Response:
    """A failed job's own problem document, under the status that it names."""
    found = anything.decode(job.error) if job.error else {}
    problem = found if isinstance(found, dict) else {}
    status = problem.get("status")
    problem["status"] = status if isinstance(status, int) and 400 <= status <= 599 else 500
    problem.setdefault("code", "model_error")
    problem.setdefault("type", PROBLEM_BASE + str(problem["code"]).replace("_", "-"))
    problem.setdefault("title", "The job failed")
    return from_reply(document(problem, id=g.request_id))


def routes(parts: Parts) -> list[Route]:
    views = OutcomeViews(parts)
    return [
        Route(
            method="GET", path="/v1/jobs/<id>/result", view=views.result, name="getResult", tag="jobs",
            scope="read",
            summary="A job's outputs",
            description="A failed job is answered with its own problem document, under its status.",
            answers={
                200: Answer(description="Output names to values", content={"application/json": dict[str, msgspec.Raw]}),
                303: Answer(description="The outputs are large", headers={"Location": "where they are, for a while"}),
            },
            errors=("not_found", "not_ready", "already_terminal", "result_expired", "model_error", "timed_out"),
        ),
        Route(
            method="POST", path="/v1/jobs/<id>/cancel", view=views.cancel, name="cancelJob", tag="jobs",
            scope="submit",
            summary="Cancel a job",
            description="A queued job is canceled at once, a running one before its next batch; an ended one stays.",
            answers={200: Answer(description="The job as it is now", content=_JOB)},
            errors=("not_found", "result_expired"),
        ),
        Route(
            method="POST", path="/v1/jobs/<id>/retry", view=views.retry, name="retryJob", tag="jobs",
            scope="submit",
            summary="Run a failed, canceled or expired job again",
            answers={202: Answer(description="Queued again, under the same id", content=_JOB)},
            errors=("not_found", "already_terminal", "result_expired", "quota_exceeded"),
        ),
        Route(
            method="DELETE", path="/v1/jobs/<id>", view=views.delete, name="deleteJob", tag="jobs",
            scope="submit",
            summary="Erase a job's inputs and outputs",
            description="A job that has not ended is canceled. Asking for it afterwards is answered with 410.",
            answers={204: Answer(description="Erased")},
            errors=("not_found", "result_expired", "objects_unavailable"),
        ),
    ]  # fmt: skip
