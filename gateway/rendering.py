"""A job as clients see it in an answer: with why it waits, and for how long."""

import time

from gateway.register import Register
from storage.job import Job, Status
from tasks.job_object import JobObject, QueuePlace, job_object
from tasks.message import Message, decode


def render(
    job: Job, *, base: str, register: Register, message: Message | None = None, position: int | None = None
) -> JobObject:
    """`base` is the gateway's address without a slash at its end; `position` is 1 for the next to run."""
    message = message or decode(job.message)
    reason = place = None
    if job.status is Status.QUEUED:
        reason, place = waiting(job, message, register, position)
    return job_object(job, message, base=base, reason=reason, place=place)


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
