"""A job as the gateway last told it."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from penstock.errors import JobCanceled, JobExpired, JobFailure, NotReady, job_failure
from penstock.results import as_numpy

#: States that only an explicit retry leaves.
ENDED = frozenset({"succeeded", "failed", "canceled", "expired"})
#: What a job without an `error` of its own raises.
FAILED = {"failed": JobFailure, "canceled": JobCanceled, "expired": JobExpired}
MOMENTS = ("created_at", "started_at", "completed_at", "expires_at")


@dataclass(frozen=True, slots=True)
class QueuePlace:
    """Where a queued job stands."""

    #: 1: it is the next of its lane.
    position: int | None = None
    #: Estimated seconds until it starts.
    eta_s: float | None = None


@dataclass(frozen=True, slots=True)
class StepMetrics:
    """What one step of a pipeline took."""

    name: str
    model: str
    version: str = ""
    #: Rows or items that were run.
    items: int = 0
    #: Milliseconds until the first of them began, and from then until the last was done.
    queue_ms: float = 0.0
    compute_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class JobMetrics:
    """What the job's last attempt cost."""

    #: Milliseconds between accept and start.
    queue_ms: float = 0.0
    #: Milliseconds that the batch took in the model.
    compute_ms: float = 0.0
    #: Jobs or rows that shared the model call.
    batch_size: int = 0
    device: str | None = None
    #: Of a pipeline, in the order they began.
    steps: tuple[StepMetrics, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One request to a model, from accept to its end."""

    id: str
    model: str
    version: str | None = None
    #: queued, running, succeeded, failed, canceled or expired.
    status: str
    #: Why a queued job waits: no_worker, model_loading, behind_others or retrying.
    waiting_reason: str | None = None
    queue: QueuePlace | None = None
    priority: str = "normal"
    #: Executions so far; the first run counts as 1.
    attempt: int = 0
    #: Executions that ended with an error of the model.
    failures: int = 0
    #: Executions that ended with the death of their worker.
    worker_losses: int = 0
    #: Executions that ended for another reason that is no fault of the job.
    interruptions: int = 0
    #: How often it was sent back to the queue after its end.
    replays: int = 0
    #: Whatever the model reports while it runs.
    progress: Any = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    #: When the result is erased.
    expires_at: datetime | None = None
    #: Output names to values; None before the end, and where they are large (`client.jobs.result` gets them).
    outputs: dict[str, Any] | None = None
    error: JobFailure | None = field(default=None, compare=False)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    webhook_status: str | None = None
    metrics: JobMetrics = JobMetrics()
    urls: Mapping[str, str] = field(default_factory=dict)
    #: The job object as it was received, fields of newer gateways included.
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def done(self) -> bool:
        """True in a terminal state."""
        return self.status in ENDED

    def raise_for_failure(self) -> None:
        """Raise the JobFailure of a job that failed, was canceled or expired; nothing else."""
        if self.status not in FAILED:
            return
        failure = self.error or FAILED[self.status]()
        failure.job_id = self.id
        raise failure

    def numpy(self) -> dict[str, Any]:
        """The outputs as numpy arrays, in the datatypes that numpy sees in them::

            vectors = client.jobs.wait(job).numpy()["embedding"]

        Raises the failure of a job that did not succeed, NotReady before its end, and where the outputs are too large
        for the job object (`client.jobs.result(job, as_numpy=True)` gets those, in the model's own datatypes).
        """
        self.raise_for_failure()
        if self.outputs is None:
            large = "its outputs are too large for the job object; get them with client.jobs.result"
            raise NotReady(f"{self.id} is {self.status}" + (f": {large}" if self.done else ""))
        return as_numpy(self.outputs)

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> "Job":
        """Read a job object; what it lacks takes its default, what is unknown stands in `raw`."""
        values = known(cls, data)
        for name in MOMENTS:
            if values.get(name):
                values[name] = datetime.fromisoformat(values[name])
        if "queue" in values:
            values["queue"] = QueuePlace(**known(QueuePlace, values["queue"]))
        if "metrics" in values:
            metrics = known(JobMetrics, values["metrics"])
            metrics["steps"] = tuple(StepMetrics(**known(StepMetrics, one)) for one in metrics.get("steps", ()))
            values["metrics"] = JobMetrics(**metrics)
        if "error" in values:
            values["error"] = job_failure(values["error"], job_id=data["id"])
        return cls(**values | {"raw": data})


def known(cls: type, data: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of `data` that are fields of the dataclass and not null."""
    names = {item.name for item in dataclasses.fields(cls)}
    return {name: value for name, value in data.items() if name in names and value is not None}
