"""What happened in a run, from every side: what clients asked and were told, what executors ran, what was stored.

The checker (`tests.chaos.checker`) reads nothing else, so that a history can be written by hand, or read from a file
after the fact. Times are seconds of one clock, the recorder's.
"""

from enum import StrEnum

import msgspec

TERMINAL = frozenset({"succeeded", "failed", "canceled", "expired"})


class Sort(StrEnum):
    """What a job has to come to."""

    #: Its outputs, whatever its neighbours do.
    INNOCENT = "innocent"
    #: A failure: it ends the process that runs it.
    POISON = "poison"
    #: A failure: the model raises each time.
    BAD = "bad"
    #: Its outputs, after one failure.
    FLAKY = "flaky"


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """A job that a client means to have run."""

    #: Its Idempotency-Key, or the id it was pushed under; in the job's metadata as well.
    key: str
    model: str
    #: No two intents have the same.
    input: str
    sort: Sort = Sort.INNOCENT
    #: Pushed straight to the queue, not submitted.
    pushed: bool = False
    #: Subscribed to its end.
    webhook: bool = False


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A request and its answer."""

    began: float
    ended: float
    #: submit, poll, wait, cancel, retry or push.
    op: str
    #: Of a submission: the intent's.
    key: str = ""
    #: The job's id, where it is known.
    job: str = ""
    #: HTTP status (of a push: 202 is the broker's confirm); 0: no answer.
    status: int = 0
    #: What the answer said of the job.
    state: str = ""
    attempt: int = 0
    completed_at: str = ""
    #: JSON; "" where the answer had none.
    outputs: str = ""
    #: Of a failed job: its error's code. Of a refusal: the problem's.
    code: str = ""

    @property
    def accepted(self) -> bool:
        return self.op in ("submit", "push") and self.status in (200, 202) and bool(self.job)

    @property
    def tells(self) -> bool:
        """Whether the answer said how the job stands."""
        return bool(self.state) and 200 <= self.status < 300


class Execution(msgspec.Struct, frozen=True):
    """One job in one batch of an executor."""

    #: Its digest.
    input: str
    #: Names the batch.
    batch: str
    #: Jobs in it.
    size: int


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook that arrived."""

    at: float
    #: `webhook-id`.
    id: str
    type: str
    job: str
    state: str
    completed_at: str
    outputs: str = ""
    code: str = ""
    #: Whether its signature holds.
    signed: bool = True


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A job as the store has it in the end."""

    id: str
    #: The intent's, from the job's metadata; "" where the message is gone.
    key: str
    state: str
    attempt: int = 0
    losses: int = 0
    failures: int = 0
    completed_at: str = ""
    #: JSON, also where it lay in an object.
    outputs: str = ""
    code: str = ""
    #: Ends of this job whose delivery was given up, as the store records it: `completed_at` of each.
    exhausted: tuple[str, ...] = ()


class Rest(msgspec.Struct, frozen=True, kw_only=True):
    """What is left where nothing should be."""

    #: Messages in a queue, in consumers' hands included.
    messages: dict[str, int] = {}
    #: Ids that stand among those that wait.
    waiting: tuple[str, ...] = ()
    #: Members of the due set.
    due: tuple[str, ...] = ()
    #: Webhooks that nobody has sent and nobody has given up.
    untold: int = 0
    #: Keys of all objects.
    objects: tuple[str, ...] = ()
    #: Objects that records name.
    named: tuple[str, ...] = ()


class History(msgspec.Struct, frozen=True, kw_only=True):
    intents: tuple[Intent, ...]
    calls: tuple[Call, ...]
    executions: tuple[Execution, ...]
    records: tuple[Record, ...]
    deliveries: tuple[Delivery, ...] = ()
    rest: Rest = Rest()
    #: Faults that were injected, all kinds.
    faults: int = 0
    #: Ids of jobs whose messages an operator purged: what was pushed straight to the queue has no other copy.
    purged: tuple[str, ...] = ()
    #: Whether webhooks were sent at all.
    webhooks: bool = False


class Violation(msgspec.Struct, frozen=True):
    """A broken promise."""

    #: Which, by the check's name.
    check: str
    #: The job's id, the intent's key, or the place.
    subject: str
    detail: str

    def __str__(self) -> str:
        return f"{self.check}: {self.subject}: {self.detail}"
