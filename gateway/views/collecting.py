"""The ends of many jobs in one request: whoever submitted a thousand does not ask a thousand times."""

import time
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import msgspec

from errors import PenstockError
from gateway import bodies
from gateway.answers import encode
from gateway.asked import Asked, Reply
from gateway.asking import JOB_ID, LONGEST_WAIT_S, base_url, permitted
from gateway.json_bodies import read_whole
from gateway.parts import Parts
from gateway.rendering import render
from gateway.routes import Answer, Body, Route
from gateway.suspending import Signal, blocking
from gateway.waiting import Gatherer
from storage.job import Job
from tasks.job_object import JobObject

MAX_JOBS = 1000
#: Seconds that the first end waits for others, so that a thousand short jobs do not make a thousand answers.
GATHER_S = 0.02
#: Bytes of outputs in one answer, after which the rest is left to the next.
MAX_OUTPUTS = 16 * 2**20
MAX_BODY = 256 * 1024


class CollectWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which jobs, and how long to wait for the first end."""

    ids: Annotated[list[Annotated[str, msgspec.Meta(max_length=128)]], msgspec.Meta(min_length=1, max_length=MAX_JOBS)]
    wait_s: Annotated[float, msgspec.Meta(ge=0, le=LONGEST_WAIT_S)] = 0


class Collected(msgspec.Struct, frozen=True, omit_defaults=True):
    """A job that has ended, or why nothing can be said of it."""

    id: str
    job: JobObject | None = None
    error: dict[str, Any] | None = None


class Collection(msgspec.Struct, frozen=True, kw_only=True):
    """In no order; jobs that are not in it have not ended."""

    object: str = "list"
    data: list[Collected]


_wish = msgspec.json.Decoder(CollectWish)


class CollectViews:
    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    async def collect(self, asked: Asked) -> Reply:
        bodies.require(asked.environ, "application/json")
        wish = read_whole(bodies.read(asked.environ, MAX_BODY), _wish)
        ids = [*dict.fromkeys(wish.ids)]
        with self.parts.waiting.watch_any(ids) as gatherer:
            # Who waits is told of an end that is being announced; who does not is told only what is looked at.
            sure = {id for id in ids if wish.wait_s and self.surely_runs(gatherer, id, asked.tenant)}
            found = await self.look(asked, [id for id in ids if id not in sure])
            if not found and wish.wait_s:
                found = await self.wait(asked, ids, gatherer, wish.wait_s)
        # Many take a while: the event loop goes on.
        return Reply(200, await blocking(lambda: self.rendered(asked, found)), {})

    def surely_runs(self, gatherer: Gatherer | None, id: str, tenant: str) -> bool:
        return gatherer is not None and self.parts.waiting.expected(id, tenant)

    async def wait(
        self, asked: Asked, ids: Sequence[str], gatherer: Gatherer | None, wait_s: float
    ) -> dict[str, Job | PenstockError]:
        """What has ended once anything has, or `wait_s` seconds have passed."""
        deadline = time.monotonic() + wait_s
        while gatherer is not None and not self.parts.waiting.closed:
            if not await gatherer.within(deadline - time.monotonic()):
                break
            await Signal[None]().within(GATHER_S)
            found = ended(gatherer.take(), asked.tenant)
            if gatherer.lost:
                gatherer.lost = False
                found |= await self.look(asked, [id for id in ids if id not in found])
            if found:
                return found
        return await self.look(asked, ids)

    async def look(self, asked: Asked, ids: Sequence[str]) -> dict[str, Job | PenstockError]:
        """Those of the jobs that have ended, or are none."""
        known = [id for id in ids if JOB_ID.fullmatch(id)]
        records = await blocking(lambda: self.parts.jobs.get_all(known)) if known else []
        there = dict(zip(known, records, strict=True))
        return {
            id: one
            for id in ids
            if isinstance(one := seen(there.get(id), id, asked.tenant), PenstockError) or one.terminal
        }

    def rendered(self, asked: Asked, found: dict[str, Job | PenstockError]) -> bytes:
        rows: list[Collected] = []
        size, base = 0, base_url(self.parts, asked.environ)
        for id, one in found.items():
            if isinstance(one, PenstockError):
                rows.append(Collected(id, error={**one.problem(), "request_id": asked.id}))
                continue
            size += len(one.outputs or b"")
            if rows and size > MAX_OUTPUTS:
                break
            rows.append(Collected(id, job=render(one, base=base, register=self.parts.register)))
        return encode(Collection(data=rows))


def seen(job: Job | None, id: str, tenant: str) -> Job | PenstockError:
    try:
        return permitted(job, id, tenant=tenant)
    # An unknown one does not keep the others from being told.
    except PenstockError as error:
        return error


def ended(jobs: Iterable[Job], tenant: str) -> dict[str, Job | PenstockError]:
    """Records that were handed over, by id, as far as they are of jobs that have ended."""
    found = {job.id: seen(job, job.id, tenant) for job in jobs}
    return {id: one for id, one in found.items() if isinstance(one, PenstockError) or one.terminal}


def routes(parts: Parts) -> list[Route]:
    return [
        Route(
            method="POST", path="/v1/jobs:collect", view=CollectViews(parts).collect, name="collectJobs", tag="jobs",
            scope="read", quick=True,
            summary=f"Those of up to {MAX_JOBS} jobs that have ended",
            description=(
                "Waits for the first end for `wait_s` seconds, and a moment more for others. Jobs that are not in the "
                "answer have not ended, or did not fit into it: ask again for them."
            ),
            body=Body(content={"application/json": CollectWish}, max_bytes=MAX_BODY),
            answers={200: Answer(description="Those that have ended", content={"application/json": Collection})},
            errors=("malformed_body", "invalid_input", "payload_too_large", "unsupported_media_type"),
        )
    ]  # fmt: skip
