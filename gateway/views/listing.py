"""A tenant's jobs, page by page."""

from typing import NamedTuple

import msgspec
from flask import Response, g, request

from errors import Fault, InvalidInput
from gateway.answers import answer
from gateway.asking import JOB_ID, base_url
from gateway.parts import Parts
from gateway.rendering import render
from gateway.routes import Answer, Parameter, Route
from storage.clock import wall_ms
from storage.job import Job, Status
from tasks.job_object import JobObject
from tasks.message import Message, readable

DEFAULT_LIMIT, MAX_LIMIT = 50, 500
#: Records looked at for one page: a filter that matches nothing must not read a tenant's whole history at once.
MAX_SCAN = 2000
#: Records read in one round trip where a filter is set.
STRIDE = 200
STATES = tuple(status.value for status in Status if status is not Status.WITHDRAWN)


class JobPage(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs, newest first. With a filter a page may hold fewer than asked for, even none, and have a next one."""

    object: str = "list"
    data: list[JobObject]
    #: Where the next page begins; null at the end.
    next_cursor: str | None = None


class Filter(NamedTuple):
    status: str
    model: str
    #: Metadata keys to the text of their value.
    metadata: dict[str, str]

    def matches(self, job: Job, message: Message) -> bool:
        return (
            (not self.status or job.status.value == self.status)
            and (not self.model or message.model == self.model)
            and all(text_of(message.metadata.get(key)) == text for key, text in self.metadata.items())
        )


class ListingViews:
    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    def page(self) -> Response:
        wanted, limit, cursor = asked()
        stride = max(limit, STRIDE) if any(wanted) else limit
        found: list[JobObject] = []
        for _ in range(0, MAX_SCAN, stride):
            records = self.parts.jobs.page(g.tenant, after=cursor, limit=stride)
            for job in records.jobs:
                if (shown := self.shown(job, wanted)) is None:
                    continue
                found.append(shown)
                if len(found) == limit:
                    return answer(JobPage(data=found, next_cursor=job.id))
            cursor = records.cursor
            if not cursor:
                break
        return answer(JobPage(data=found, next_cursor=cursor or None))

    def shown(self, job: Job, wanted: Filter) -> JobObject | None:
        """The job as it is listed; None where it is filtered out, gone but for its record, or cannot be read."""
        message = readable(job.message)
        if message is None or (job.expires_ms and job.expires_ms <= wall_ms()):
            return None
        if not wanted.matches(job, message):
            return None
        return render(job, base=base_url(self.parts, request.environ), register=self.parts.register, message=message)


def asked() -> tuple[Filter, int, str]:
    """Filter, limit and cursor from the query; raises InvalidInput."""
    status, model, cursor, limit, metadata = "", "", "", DEFAULT_LIMIT, {}
    for name, value in request.args.items():
        if name == "status" and value in STATES:
            status = value
        elif name == "model":
            model = value
        elif name == "cursor" and JOB_ID.fullmatch(value):
            cursor = value
        elif name == "limit" and value.isascii() and value.isdigit() and 1 <= int(value[:9]) <= MAX_LIMIT:
            limit = int(value)
        elif name.startswith("metadata."):
            metadata[name.removeprefix("metadata.")] = value
        else:
            raise InvalidInput(complaint(name, value), faults=[Fault(f"?{name[:80]}", complaint(name, value))])
    return Filter(status, model, metadata), limit, cursor


def complaint(name: str, value: str) -> str:
    known = {
        "status": f"must be one of {', '.join(STATES)}",
        "limit": f"must be a number from 1 to {MAX_LIMIT}",
        "cursor": "is not one that a page gave",
    }
    return f"{name[:80]} {known.get(name, 'is no parameter of this list')}"


def text_of(value: object) -> str | None:
    """A metadata value as a query writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None else str(value)


def routes(parts: Parts) -> list[Route]:
    views = ListingViews(parts)
    return [
        Route(
            method="GET", path="/v1/jobs", view=views.page, name="listJobs", tag="jobs",
            scope="read",
            summary="Your jobs, newest first",
            description="`metadata.<key>=<value>` keeps jobs whose metadata has that value; several may be given.",
            parameters=(
                Parameter(name="status", schema={"type": "string", "enum": list(STATES)}),
                Parameter(name="model"),
                Parameter(
                    name="limit",
                    schema={"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
                ),
                Parameter(name="cursor", description="`next_cursor` of the page before"),
            ),
            answers={200: Answer(description="A page", content={"application/json": JobPage})},
            errors=("invalid_input",),
        )
    ]  # fmt: skip
