"""The scoring record: what Redis knows of one offline run over many rows.

What was asked (`Spec`) never changes; what has become of it (`Scoring`) is changed by the scripts of
`storage.scorings` alone. Rows never come here: they lie in objects, a shard at a time.
"""

from enum import StrEnum

import msgspec


class ScoringStatus(StrEnum):
    #: Nobody drives it yet.
    QUEUED = "queued"
    #: Its input is looked at; nothing has run.
    VALIDATING = "validating"
    RUNNING = "running"
    #: Every row has its outcome; the output is written.
    MERGING = "merging"
    COMPLETED = "completed"
    FAILED = "failed"
    #: Nothing new is begun; what is done is merged.
    CANCELING = "canceling"
    CANCELED = "canceled"


ENDED = frozenset({ScoringStatus.COMPLETED, ScoringStatus.FAILED, ScoringStatus.CANCELED})


class Part(msgspec.Struct, frozen=True):
    """One object of the input, in the order in which its rows count."""

    #: A key of the farm's own object store, or `s3://bucket/key`.
    uri: str
    #: As it was when the scoring was accepted; rows of anything else are not scored.
    etag: str
    bytes: int


class Spec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was asked."""

    id: str
    tenant: str
    model: str
    version: str
    pool: str = "cpu"
    priority: str = "low"
    input: tuple[Part, ...]
    #: `jsonl`, `csv` or `parquet`.
    format: str
    output_format: str
    #: Model input -> the column it is read from, or the columns that make up one row of it.
    mapping: dict[str, str | tuple[str, ...]] = {}
    #: The column that names rows; empty: `custom_id` where there is one.
    custom_id: str = ""
    #: Input columns that are passed through to the output.
    keep: tuple[str, ...] = ()
    parameters: dict[str, object] = {}
    #: More failed rows than that fail the scoring; None: no bound.
    max_failed_rows: int | None = None
    #: Rows of a shard; 0: as many as the measured cost makes about a second.
    shard_rows: int = 0
    #: How long output and record outlive the end, seconds.
    result_ttl_s: int = 7 * 86_400
    metadata: dict[str, object] = {}
    webhook_url: str = ""
    webhook_events: tuple[str, ...] = ()
    #: Look, count and estimate, but run nothing.
    dry_run: bool = False
    #: The model's inputs and outputs as JSON arrays of tensors, and its `batching.max_items`, as they were when the
    #: scoring was accepted.
    inputs: msgspec.Raw
    outputs: msgspec.Raw
    max_items: int
    #: The gateway's base address as clients know it.
    base: str = ""
    created_ms: int


class Failure(msgspec.Struct, frozen=True):
    """One row that has no output: a line of the error file."""

    #: Counted from 0 over the whole input, in its order.
    row: int
    custom_id: str | None
    code: str
    detail: str
    #: Whether the same row may succeed another time.
    retryable: bool = False


class Estimate(msgspec.Struct, frozen=True):
    """What a dry run found."""

    rows: int
    shards: int
    #: That the rows have on their way to the workers, by the first of them.
    bytes: int
    #: Seconds of all executors that are there now; None where nothing was measured, or nobody runs the model.
    seconds: float | None


class Scoring(msgspec.Struct, frozen=True, kw_only=True):
    """One scoring's record. Times are milliseconds since the epoch; 0 is "not yet"."""

    spec: Spec
    status: ScoringStatus
    #: 1, and one more for each retry of failed rows.
    round: int = 1
    #: -1: not known yet.
    total: int = -1
    #: Rows that have an outcome, failed ones included.
    done: int = 0
    failed: int = 0
    #: Rows a second over the last while; 0: none yet.
    rate: float = 0.0
    validating_ms: int = 0
    running_ms: int = 0
    merging_ms: int = 0
    canceling_ms: int = 0
    ended_ms: int = 0
    expires_ms: int = 0
    #: Keys in the object store; empty: there is none. And their bytes.
    output_key: str = ""
    output_bytes: int = 0
    errors_key: str = ""
    errors_bytes: int = 0
    #: Why it failed: a problem document, JSON.
    error: bytes = b""
    estimate: Estimate | None = None
    #: Why its contents are gone: "" (they are not), "deleted" or "expired".
    erased: str = ""

    @property
    def id(self) -> str:
        return self.spec.id

    @property
    def tenant(self) -> str:
        return self.spec.tenant

    @property
    def ended(self) -> bool:
        return self.status in ENDED
