"""A job's life as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

import time
from collections.abc import Iterator

from flask import Response, g, request

from errors import PenstockError
from gateway.answers import encode
from gateway.asking import base_url, job_of, own_job
from gateway.parts import Parts
from gateway.rendering import render
from gateway.routes import Answer, Parameter, Route
from storage.job import Job

#: Seconds between two signs of life; proxies cut a connection that is silent for longer, mostly after 30 or 60.
HEARTBEAT_S = 15.0
#: Seconds after which a stream ends and the client opens the next: each holds a request thread.
LONGEST_S = 300.0
#: Milliseconds that a client waits before it opens the next stream.
AGAIN = b"retry: 1000\n\n"


class EventViews:
    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    def events(self, id: str) -> Response:
        own_job(self.parts, id)
        seen = request.environ.get("HTTP_LAST_EVENT_ID", "")
        stream = self.stream(id, tenant=g.tenant, base=base_url(self.parts, request.environ), seen=seen)
        # X-Accel-Buffering: nginx would hold the events back otherwise.
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return Response(stream, 200, headers, content_type="text/event-stream")

    def stream(self, id: str, *, tenant: str, base: str, seen: str) -> Iterator[bytes]:
        """The job at each change of its state, beginning with the one after the event `seen`."""
        yield AGAIN
        until = time.monotonic() + LONGEST_S
        with self.parts.waiting.follow(id) as waiter:
            while True:
                try:
                    job = job_of(self.parts, id, tenant=tenant)
                    event = encode(render(job, base=base, register=self.parts.register))
                except PenstockError:
                    # Deleted, or the store is away: the client asks again and is told.
                    return
                if event_id(job) != seen:
                    seen = event_id(job)
                    yield b"id: %b\nevent: job\ndata: %b\n\n" % (seen.encode(), event)
                if job.terminal or waiter is None:
                    return
                while not waiter.wait(HEARTBEAT_S):
                    if time.monotonic() > until:
                        return
                    yield b": still here\n\n"
                if self.parts.waiting.closed:
                    return


def event_id(job: Job) -> str:
    return f"{job.attempt}-{job.status.value}"


def routes(parts: Parts) -> list[Route]:
    views = EventViews(parts)
    return [
        Route(
            method="GET", path="/v1/jobs/<id>/events", view=views.events, name="jobEvents", tag="jobs",
            scope="read",
            summary="A job's life as server-sent events",
            description=(
                "Each event is named `job` and carries the job; the first is the job as it is, the last its end. A "
                "stream ends after five minutes at the latest; a client that comes back with `Last-Event-ID` is not "
                "told again what it knows."
            ),
            parameters=(Parameter(name="Last-Event-ID", where="header"),),
            answers={200: Answer(description="The events", content={"text/event-stream": {"type": "string"}})},
            errors=("not_found", "result_expired"),
        )
    ]  # fmt: skip
