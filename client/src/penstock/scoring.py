"""A scoring as the gateway describes it, and the rows of it that failed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from penstock.errors import JobCanceled, JobFailure, job_failure
from penstock.job import known

#: States that a scoring does not leave by itself.
SCORING_ENDED = frozenset({"completed", "failed", "canceled"})
MOMENTS = (
    "created_at", "validating_at", "running_at", "merging_at", "canceling_at", "completed_at", "expires_at",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ScoringRows:
    """How many rows there are, and what became of them."""

    #: None: not known yet.
    total: int | None = None
    #: Rows that have an outcome, failed ones included.
    done: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class ScoringFile:
    """An object that came of it; `client.objects.download(file.object, path)` fetches it."""

    object: str
    bytes: int = 0
    url: str = ""
    #: Of the file of errors: how many there are.
    rows: int | None = None


@dataclass(frozen=True, slots=True)
class ScoringEstimate:
    """What a dry run found."""

    rows: int
    shards: int = 0
    #: That the rows have on their way to the workers, by the first of them.
    bytes: int = 0
    #: How long it would take; None: nothing was measured yet, or nobody runs the model.
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class RowError:
    """A row that has no output."""

    #: Counted from 0 over the whole input.
    row: int
    custom_id: str | None = None
    code: str = ""
    detail: str = ""
    #: Whether the same row may succeed another time.
    retryable: bool = False


@dataclass(frozen=True, slots=True)
class Scoring:
    """An offline run over the rows of a table, as it was when it was asked for."""

    id: str
    status: str
    model: str = ""
    version: str = ""
    #: Why none of its rows can run now: no_worker or model_loading.
    waiting_reason: str | None = None
    rows: ScoringRows = ScoringRows()
    #: Rows a second over the last while.
    rate: float | None = None
    eta_s: float | None = None
    #: From 0 to 1; None: the number of rows is not known yet.
    progress: float | None = None
    #: 1, and one more for each retry of failed rows.
    round: int = 1
    priority: str = "low"
    input: Mapping[str, Any] = field(default_factory=dict)
    format: str = ""
    output_format: str = ""
    output: ScoringFile | None = None
    errors: ScoringFile | None = None
    error: JobFailure | None = field(default=None, compare=False)
    estimate: ScoringEstimate | None = None
    dry_run: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)
    created_at: datetime | None = None
    validating_at: datetime | None = None
    running_at: datetime | None = None
    merging_at: datetime | None = None
    canceling_at: datetime | None = None
    completed_at: datetime | None = None
    #: When record, output and errors are erased.
    expires_at: datetime | None = None
    urls: Mapping[str, str] = field(default_factory=dict)
    #: The object as it was received, fields of newer gateways included.
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def done(self) -> bool:
        """True in a terminal state; rows may have failed then."""
        return self.status in SCORING_ENDED

    def raise_for_failure(self) -> None:
        """Raise the JobFailure of a scoring that failed or was canceled; failed rows alone are none."""
        if self.status == "failed":
            raise self.error or job_failure({}, job_id=self.id)
        if self.status == "canceled":
            canceled = JobCanceled(f"the scoring was canceled after {self.rows.done} rows")
            canceled.job_id = self.id
            raise canceled

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> "Scoring":
        """Read a scoring object; what it lacks takes its default, what is unknown stands in `raw`."""
        values = known(cls, data)
        for name in MOMENTS:
            if values.get(name):
                values[name] = datetime.fromisoformat(values[name])
        for name, kind in PARTS.items():
            if name in values:
                values[name] = kind(**known(kind, values[name]))
        if "error" in values:
            values["error"] = job_failure(values["error"], job_id=data["id"])
        return cls(**values | {"raw": data})


#: Fields that are objects themselves.
PARTS: Mapping[str, type[Any]] = {
    "rows": ScoringRows, "output": ScoringFile, "errors": ScoringFile, "estimate": ScoringEstimate,
}  # fmt: skip
