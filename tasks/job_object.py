"""A job as clients see it, in an answer or in a webhook: made from its record and the message in it."""

from functools import lru_cache
from time import gmtime, strftime
from typing import Any

import msgspec

from storage.job import Job
from tasks.message import Message


class QueuePlace(msgspec.Struct, frozen=True):
    """Where a queued job stands in its lane."""

    #: 1: it is the next; null: not known.
    position: int | None = None
    eta_s: float | None = None


class StepMetrics(msgspec.Struct, frozen=True):
    """What one step of a pipeline took."""

    name: str
    model: str
    version: str
    #: Rows or items that were run.
    items: int
    #: Until the first of them began, and from then until the last was done.
    queue_ms: float
    compute_ms: float


class Metrics(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the newest attempt took."""

    queue_ms: float
    compute_ms: float
    batch_size: int
    device: str
    #: Of a pipeline, in the order they began.
    steps: tuple[StepMetrics, ...] = ()


_steps = msgspec.json.Decoder(tuple[StepMetrics, ...])


class Urls(msgspec.Struct, frozen=True):
    self: str
    result: str
    events: str
    cancel: str


class JobObject(msgspec.Struct, frozen=True, kw_only=True):
    """A job."""

    id: str
    object: str = "job"
    model: str
    version: str
    status: str
    #: Why a queued job waits: no_worker, model_loading, behind_others or retrying.
    waiting_reason: str | None = None
    queue: QueuePlace | None = None
    priority: str
    attempt: int
    #: Attempts that ended with an error of the model.
    failures: int = 0
    #: Attempts that ended with the worker that ran them.
    worker_losses: int
    #: Attempts that ended for another reason that is no fault of the job.
    interruptions: int = 0
    #: How often it was sent back to the queue after its end.
    replays: int = 0
    progress: float | None = None
    created_at: str | None
    started_at: str | None
    completed_at: str | None
    expires_at: str | None
    #: The outputs; null where they are large: then `urls.result` leads to them.
    outputs: msgspec.Raw | None = None
    #: A problem document.
    error: msgspec.Raw | None = None
    metadata: dict[str, Any]
    #: pending, delivered or failed; null where nobody is to be told.
    webhook_status: str | None = None
    metrics: Metrics
    urls: Urls


def job_object(
    job: Job, message: Message, *, base: str, reason: str | None = None, place: QueuePlace | None = None
) -> JobObject:
    """`base` is the gateway's address without a slash at its end; `reason` and `place`: why and where it waits."""
    own = f"{base}/v1/jobs/{job.id}"
    return JobObject(
        id=job.id,
        model=message.model,
        version=message.version,
        status=job.status.value,
        waiting_reason=reason,
        queue=place,
        priority=message.priority,
        attempt=job.attempt,
        failures=job.failures,
        worker_losses=job.losses,
        interruptions=job.interruptions,
        replays=job.replays,
        created_at=timestamp(job.created_ms),
        started_at=timestamp(job.started_ms),
        completed_at=timestamp(job.completed_ms),
        expires_at=timestamp(job.expires_ms),
        outputs=None if job.outputs is None else msgspec.Raw(job.outputs),
        error=None if job.error is None else msgspec.Raw(job.error),
        metadata=message.metadata,
        webhook_status=webhook_status(job, message),
        metrics=Metrics(job.queue_ms, job.compute_ms, job.batch_size, job.device, steps(job)),
        urls=Urls(own, own + "/result", own + "/events", own + "/cancel"),
    )


def webhook_status(job: Job, message: Message) -> str | None:
    """How far the job's webhooks are: "pending", "delivered", "failed", or None where nobody is to be told."""
    if message.webhook is None and not job.events:
        return None
    if job.hooks > 0 or not job.terminal:
        return "pending"
    if job.hooks_failed > 0:
        return "failed"
    return "delivered" if job.events else None


def steps(job: Job) -> tuple[StepMetrics, ...]:
    return _steps.decode(job.steps) if job.steps else ()


def timestamp(ms: int) -> str | None:
    """Milliseconds since the epoch as RFC 3339 in UTC; None for 0, which means "not yet"."""
    if not ms:
        return None
    seconds, rest = divmod(ms, 1000)
    return f"{_second(seconds)}.{rest:03d}Z"


# Jobs of one second share it: formatting costs more than looking it up.
@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    return strftime("%Y-%m-%dT%H:%M:%S", gmtime(seconds))
