"""The job record: what Redis knows of one job, and the moves its state may make.

The record keeps the queue message as it was published, unread: whatever a submission said stands in
there, and the record can be rebuilt from it, or republished, without another source.
"""

from collections.abc import Callable
from enum import StrEnum

import msgspec


class Status(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"
    #: The broker never confirmed the message and the client was told so; kept so that a message
    #: that did arrive is dropped. No client ever sees this state.
    WITHDRAWN = "withdrawn"


TERMINAL = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELED, Status.EXPIRED, Status.WITHDRAWN})

#: Legal moves. QUEUED -> FAILED is a job the broker gave up on; terminal -> QUEUED is an explicit retry;
#: RUNNING -> RUNNING is a redelivered message that takes over with a new token.
NEXT: dict[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset(
        {Status.RUNNING, Status.CANCELED, Status.EXPIRED, Status.FAILED, Status.WITHDRAWN},
    ),
    Status.RUNNING: frozenset(
        {Status.RUNNING, Status.QUEUED, Status.SUCCEEDED, Status.FAILED, Status.CANCELED, Status.EXPIRED},
    ),
    Status.SUCCEEDED: frozenset(),
    Status.FAILED: frozenset({Status.QUEUED}),
    Status.CANCELED: frozenset({Status.QUEUED}),
    Status.EXPIRED: frozenset({Status.QUEUED}),
    Status.WITHDRAWN: frozenset(),
}


#: How long a record outlives its terminal state where nothing else is said, seconds; such a record leaves it out
#: (lua/create.lua, lua/terminal.lua).
RESULT_TTL_S = 86_400


class NewJob(msgspec.Struct, frozen=True, kw_only=True):
    """A submission, as the store needs to know it."""

    id: str
    tenant: str
    #: The lane's queue, `<pool>.<model>.<version>.<lane>`.
    queue: str
    #: The queue message, JSON.
    message: bytes
    created_ms: int
    #: Not started by then: expired. 0: waits for ever.
    start_by_ms: int
    #: How long the record outlives its terminal state.
    result_ttl_s: int
    #: Events that the job's own webhook wants, separated by spaces.
    webhook: str = ""
    #: The scoring whose shard it is: then nobody but that sees it.
    scoring: str = ""
    #: Who wants to hear of its end over the broker (`tasks.reply`).
    reply: str = ""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One job's record. Times are milliseconds since the epoch; 0 is "not yet"."""

    id: str
    tenant: str
    queue: str
    status: Status
    #: Empty once it is erased.
    message: bytes = b""
    created_ms: int
    start_by_ms: int = 0
    result_ttl_s: int = RESULT_TTL_S
    #: Executions so far, and the fencing token: a commit must name the newest.
    attempt: int = 0
    #: Executions that ended with the worker that ran them.
    losses: int = 0
    #: Executions that were taken over or put off for what is no fault of the job: a lost connection, a broker's
    #: restart, an object store that was away.
    interruptions: int = 0
    #: Executions that ended with an error of the model.
    failures: int = 0
    queued_ms: int = 0
    started_ms: int = 0
    completed_ms: int = 0
    #: A retry waits until then.
    not_before_ms: int = 0
    cancel_requested: bool = False
    #: Why the contents are gone: "" (they are not), "deleted" or "expired".
    erased: str = ""
    expires_ms: int = 0
    #: Outcome: JSON inline, or the key of an object that holds the JSON.
    outputs: bytes | None = None
    outputs_key: str = ""
    #: A problem document, JSON.
    error: bytes | None = None
    queue_ms: float = 0.0
    compute_ms: float = 0.0
    batch_size: int = 0
    device: str = ""
    #: Of a pipeline: what its steps took, JSON.
    steps: bytes = b""
    #: Events that the job's own webhook wants, separated by spaces.
    webhook: str = ""
    #: Events that somebody was to hear of, so far.
    events: int = 0
    #: Of them, and of the deliveries made from them: how many are not settled, and how many have failed.
    hooks: int = 0
    hooks_failed: int = 0
    #: How often it was sent back to the queue after its end, and the last errors before that, oldest first, JSON.
    replays: int = 0
    history: bytes = b""
    #: The scoring whose shard it is: then no client ever sees it.
    scoring: str = ""

    @property
    def terminal(self) -> bool:
        return self.status in TERMINAL

    @classmethod
    def from_hash(cls, id: str, fields: dict[bytes, bytes]) -> "Job":
        """The record as a Redis hash holds it: every field's text, decoded by the field's type."""
        values: dict[str, object] = {"id": id}
        for name, read in READ.items():
            text = fields.get(name.encode())
            if text is not None:
                values[name] = read(text)
        # Left out of the hash until a job is queued once more.
        values.setdefault("queued_ms", values.get("created_ms", 0))
        return cls(**values)  # type: ignore[arg-type]


def _flag(text: bytes) -> bool:
    return text == b"1"


def _text(text: bytes) -> str:
    return text.decode()


def _status(text: bytes) -> Status:
    return Status(text.decode())


#: How each field of the hash is read.
READ: dict[str, Callable[[bytes], object]] = {
    "tenant": _text, "queue": _text, "status": _status, "message": bytes, "created_ms": int,
    "start_by_ms": int, "result_ttl_s": int, "attempt": int, "losses": int, "interruptions": int, "failures": int,
    "queued_ms": int, "started_ms": int, "completed_ms": int, "not_before_ms": int,
    "cancel_requested": _flag, "erased": _text, "expires_ms": int, "outputs": bytes,
    "outputs_key": _text, "error": bytes, "queue_ms": float, "compute_ms": float,
    "batch_size": int, "device": _text, "steps": bytes, "replays": int, "history": bytes,
    "webhook": _text, "events": int, "hooks": int, "hooks_failed": int,
    "scoring": _text,
}  # fmt: skip
