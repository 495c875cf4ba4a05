"""A job as clients see it, made from its record and the message in it."""

import time
from typing import Any

import msgspec

from gateway.answers import timestamp
from gateway.register import Register
from storage.job import Job, Status
from tasks.message import Message, decode


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
    worker_losses: int
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
    webhook_status: str | None = None
    metrics: Metrics
    urls: Urls


def render(
    job: Job, *, base: str, register: Register, message: Message | None = None, position: int | None = None
) -> JobObject:
    """`base` is the gateway's address without a slash at its end; `position` is 1 for the next to run."""
    message = message or decode(job.message)
    reason = place = None
    if job.status is Status.QUEUED:
        reason, place = waiting(job, message, register, position)
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
        worker_losses=job.losses,
        created_at=timestamp(job.created_ms),
        started_at=timestamp(job.started_ms),
        completed_at=timestamp(job.completed_ms),
        expires_at=timestamp(job.expires_ms),
        outputs=None if job.outputs is None else msgspec.Raw(job.outputs),
        error=None if job.error is None else msgspec.Raw(job.error),
        metadata=message.metadata,
        webhook_status=None if message.webhook is None else "pending",
        metrics=Metrics(job.queue_ms, job.compute_ms, job.batch_size, job.device, steps(job)),
        urls=Urls(own, own + "/result", own + "/events", own + "/cancel"),
    )


def steps(job: Job) -> tuple[StepMetrics, ...]:
    return _steps.decode(job.steps) if job.steps else ()


def waiting(job: Job, message: Message, register: Register, position: int | None) -> tuple[str, QueuePlace]:
    """Why a queued job waits, and for how long."""
    serving = register.serving(message.pool, message.model, message.version)
    if job.attempt and job.not_before_ms > time.time() * 1000:
        reason = "retrying"
    elif serving is None or serving.states == {"failed"}:
        reason = "no_worker"
    elif not serving.states & {"ready", "draining"}:
        reason = "model_loading"
    else:
        reason = "behind_others"
    eta_s = None
    if position is not None and serving and serving.row_ms is not None and serving.executors:
        eta_s = round(position * serving.row_ms / serving.executors / 1000, 3)
    return reason, QueuePlace(position, eta_s)
