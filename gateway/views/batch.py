"""Many jobs in one body."""

from typing import Any

import msgspec
from flask import Response, g, request

from errors import Fault, InvalidInput, PenstockError
from gateway import bodies, structure
from gateway.accepting import Idempotency, Prepared
from gateway.answers import answer
from gateway.asking import base_url, traceparent
from gateway.idempotency import asked_key, idempotency
from gateway.json_bodies import read_json
from gateway.parts import Parts
from gateway.rendering import render
from gateway.routes import Answer, Body, Parameter, Route
from gateway.submission import Submission, decode, read_inputs
from gateway.submitting import Submitted
from tasks.job_object import JobObject

#: Submissions in one body.
MAX_JOBS = 1000
#: Lines of NDJSON, blank ones included.
MAX_LINES = 10 * MAX_JOBS
NDJSON = ("application/x-ndjson", "application/jsonl")
_items = msgspec.json.Decoder(list[msgspec.Raw])


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one submission: a job, or the problem document that refused it."""

    job: JobObject | None = None
    error: dict[str, Any] | None = None


class Outcomes(msgspec.Struct, frozen=True, kw_only=True):
    """An outcome for each submission, in order."""

    object: str = "list"
    data: list[Outcome]


class BatchViews:
    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    async def submit(self) -> Response:
        items, key = read_items(self.parts.settings.max_body_bytes), asked_key(request.environ)
        prepared = [await self.prepare(item, f"{key}/{index}" if key else "") for index, item in enumerate(items)]
        good = [one for one in prepared if not isinstance(one, PenstockError)]
        for one, _ in good:
            self.parts.waiting.expect(one.record.id, g.tenant)
        submitted = iter(await self.parts.submitter.submit_all(good))
        results = [one if isinstance(one, PenstockError) else next(submitted) for one in prepared]
        return answer(Outcomes(data=[self.outcome(one) for one in results]))

    async def prepare(self, item: bytes | msgspec.Raw, key: str) -> tuple[Prepared, Idempotency | None] | PenstockError:
        try:
            submission = decode(item)
            inputs = read_inputs(submission)
            prepared = await self.parts.submitter.prepare(
                submission, inputs, tenant=g.tenant, traceparent=traceparent(request.environ)
            )
        # One bad submission never refuses the rest.
        except PenstockError as error:
            return error
        return prepared, idempotency(key, submission, inputs) if key else None

    def outcome(self, result: Submitted | PenstockError) -> Outcome:
        if isinstance(result, PenstockError):
            return Outcome(error={**result.problem(), "request_id": g.request_id})
        return Outcome(
            job=render(
                result.job,
                base=base_url(self.parts, request.environ),
                register=self.parts.register,
                message=result.message,
                position=result.position,
            )
        )


def read_items(max_bytes: int) -> list[bytes] | list[msgspec.Raw]:
    """The submissions' texts; raises MalformedBody where the body has no items, InvalidInput where too many."""
    kind = bodies.require(request.environ, "application/json", *NDJSON)
    body = bodies.read(request.environ, max_bytes)
    if kind in NDJSON:
        # Blank lines may stand between them; no list is made of a body that is little else.
        lines = body.split(b"\n") if body.count(b"\n") <= MAX_LINES else []
        items: list[Any] = [line for line in lines if line.strip()]
        count = len(items) or body.count(b"\n")
    else:
        structure.check(body)
        # Each item is an object of Python's: they are counted in the text where there may be too many.
        count = structure.items(body) if body.count(b",") >= MAX_JOBS else 0
        items = read_json(body, _items) if count <= MAX_JOBS else []
        count = count or len(items)
    if not 1 <= count <= MAX_JOBS or not items:
        detail = f"holds {count} submissions; send 1 to {MAX_JOBS}"
        raise InvalidInput(f"the body {detail}", faults=[Fault("#", detail)])
    return items


def routes(parts: Parts) -> list[Route]:
    views = BatchViews(parts)
    return [
        Route(
            method="POST", path="/v1/jobs:batch", view=views.submit, name="submitJobs", tag="jobs",
            scope="submit",
            summary=f"Submit up to {MAX_JOBS} jobs",
            description="One bad submission never refuses the rest. Pointers in errors are relative to the submission.",
            parameters=(Parameter(name="Idempotency-Key", where="header", description="stands for the whole body"),),
            body=Body(content={"application/json": list[Submission], NDJSON[0]: {"type": "string"}}),
            answers={200: Answer(description="The outcomes, in order", content={"application/json": Outcomes})},
            errors=("malformed_body", "invalid_input", "payload_too_large", "unsupported_media_type"),
        )
    ]  # fmt: skip
