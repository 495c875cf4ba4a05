"""A scoring as clients see it, in an answer or in a webhook: made from its record alone."""

from typing import Any

import msgspec

from storage.scoring import Estimate, Scoring, ScoringStatus
from tasks.job_object import timestamp

#: Names of the input's objects that are shown.
SHOWN = 20
#: What the objects of a scoring are called: its id, and one of these.
OUTPUT, ERRORS = "-output", "-errors"


class RowCounts(msgspec.Struct, frozen=True):
    #: null: not known yet.
    total: int | None
    #: Rows that have an outcome, failed ones included.
    done: int
    failed: int


class ScoringInput(msgspec.Struct, frozen=True):
    """What is read: objects in the order in which their rows count."""

    #: The first of them: ids of uploads, or `s3://bucket/key`.
    objects: tuple[str, ...]
    #: How many there are, and their bytes.
    parts: int
    bytes: int


class ScoringFile(msgspec.Struct, frozen=True):
    """What came of it: an object."""

    object: str
    bytes: int
    url: str


class ErrorFile(ScoringFile, frozen=True):
    """The rows that failed, one a line."""

    rows: int


class EstimateObject(msgspec.Struct, frozen=True):
    """What a dry run found."""

    rows: int
    shards: int
    #: That the rows have on their way to the workers, by the first of them.
    bytes: int
    #: null: nothing was measured yet, or nobody runs the model.
    seconds: float | None


class ScoringUrls(msgspec.Struct, frozen=True):
    self: str
    cancel: str
    retry_failed: str
    deliveries: str


class ScoringObject(msgspec.Struct, frozen=True, kw_only=True):
    """An offline run over the rows of a table."""

    id: str
    object: str = "scoring"
    model: str
    version: str
    status: str
    #: Why none of its rows can run now: no_worker or model_loading; null where some can, and in webhooks.
    waiting_reason: str | None = None
    rows: RowCounts
    #: Rows a second over the last while.
    rate: float | None
    eta_s: float | None
    #: From 0 to 1; null: the number of rows is not known yet.
    progress: float | None
    #: 1, and one more for each retry of failed rows.
    round: int
    priority: str
    input: ScoringInput
    format: str
    output_format: str
    output: ScoringFile | None
    errors: ErrorFile | None
    #: Why it failed: a problem document.
    error: msgspec.Raw | None
    estimate: EstimateObject | None
    dry_run: bool
    metadata: dict[str, Any]
    created_at: str | None
    validating_at: str | None
    running_at: str | None
    merging_at: str | None
    canceling_at: str | None
    completed_at: str | None
    #: When record, output and errors are erased.
    expires_at: str | None
    urls: ScoringUrls


def scoring_object(scoring: Scoring, *, base: str, reason: str = "") -> ScoringObject:
    """`base` is the gateway's address without a slash at its end; `reason`: why none of its rows can run."""
    spec, own = scoring.spec, f"{base}/v1/scorings/{scoring.id}"
    return ScoringObject(
        id=scoring.id,
        model=spec.model,
        version=spec.version,
        status=scoring.status.value,
        waiting_reason=reason or None,
        rows=RowCounts(None if scoring.total < 0 else scoring.total, scoring.done, scoring.failed),
        rate=round(scoring.rate, 1) if scoring.rate else None,
        eta_s=eta_s(scoring),
        progress=progress(scoring),
        round=scoring.round,
        priority=spec.priority,
        input=ScoringInput(
            tuple(name_of(part.uri) for part in spec.input[:SHOWN]),
            len(spec.input),
            sum(part.bytes for part in spec.input),
        ),
        format=spec.format,
        output_format=spec.output_format,
        output=output(scoring, base),
        errors=errors(scoring, base),
        error=msgspec.Raw(scoring.error) if scoring.error else None,
        estimate=estimate(scoring.estimate) if scoring.estimate else None,
        dry_run=spec.dry_run,
        metadata=spec.metadata,
        created_at=timestamp(spec.created_ms),
        validating_at=timestamp(scoring.validating_ms),
        running_at=timestamp(scoring.running_ms),
        merging_at=timestamp(scoring.merging_ms),
        canceling_at=timestamp(scoring.canceling_ms),
        completed_at=timestamp(scoring.ended_ms),
        expires_at=timestamp(scoring.expires_ms),
        urls=ScoringUrls(own, own + "/cancel", own + "/retry-failed", own + "/deliveries"),
    )


def eta_s(scoring: Scoring) -> float | None:
    """Seconds until every row has its outcome, at the rate of the last while."""
    if scoring.status is not ScoringStatus.RUNNING or scoring.total < 0 or not scoring.rate:
        return None
    return round(max(0, scoring.total - scoring.done) / scoring.rate, 1)


def progress(scoring: Scoring) -> float | None:
    if scoring.total < 0:
        return None
    return round(scoring.done / scoring.total, 4) if scoring.total else 1.0


def name_of(uri: str) -> str:
    """A part as its owner calls it: an upload by its id."""
    return uri if uri.startswith("s3://") else uri.rpartition("/")[2]


def output(scoring: Scoring, base: str) -> ScoringFile | None:
    if not scoring.output_key:
        return None
    id = scoring.id + OUTPUT
    return ScoringFile(id, scoring.output_bytes, f"{base}/v1/objects/{id}")


def errors(scoring: Scoring, base: str) -> ErrorFile | None:
    if not scoring.errors_key:
        return None
    id = scoring.id + ERRORS
    return ErrorFile(id, scoring.errors_bytes, f"{base}/v1/objects/{id}", scoring.failed)


def estimate(found: Estimate) -> EstimateObject:
    return EstimateObject(found.rows, found.shards, found.bytes, found.seconds)
