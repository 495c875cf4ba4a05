"""A job as clients see it in an answer: with why it waits, and for how long."""

import time

from gateway.register import Register, Serving
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


def lacking(serving: Serving | None) -> str:
    """Why nobody runs a model version now: "no_worker" or "model_loading"; empty where somebody does."""
    if serving is None or serving.states == {"failed"}:
        return "no_worker"
    return "" if serving.states & {"ready", "draining"} else "model_loading"


def waiting(job: Job, message: Message, register: Register, position: int | None) -> tuple[str, QueuePlace]:
    """Why a queued job waits, and for how long."""
    serving = register.serving(message.pool, message.model, message.version)
    if job.attempt and job.not_before_ms > time.time() * 1000:
        reason = "retrying"
    else:
        reason = lacking(serving) or "behind_others"
    eta_s = None
    if position is not None and serving and serving.row_ms is not None and serving.executors:
        eta_s = round(position * serving.row_ms / serving.executors / 1000, 3)
    return reason, QueuePlace(position, eta_s)
