"""Penstock's client: submit jobs to an inference farm, and collect what its models answer.

from penstock import Penstock

with Penstock("http://127.0.0.1:8080") as client:
    outputs = client.run("minilm", {"text": ["a sentence", "another one"]})
"""

from typing import TYPE_CHECKING

from penstock.client import Penstock
from penstock.dead_letters import DeadLetter, FormerError, Replay, ReplayPlan
from penstock.errors import (
    AccessError,
    AlreadyTerminal,
    AttemptsExhausted,
    Away,
    BadRequest,
    BrokerUnavailable,
    Busy,
    Fault,
    Forbidden,
    HeadersTooLarge,
    IdempotencyMismatch,
    InputChanged,
    InvalidInput,
    InvalidJobInput,
    JobCanceled,
    JobExpired,
    JobFailure,
    MalformedBody,
    MethodNotAllowed,
    ModelError,
    NotFound,
    NotLoaded,
    NotReady,
    NotThere,
    ObjectsUnavailable,
    OutOfMemory,
    PayloadTooLarge,
    PenstockError,
    QueueFull,
    QuotaExceeded,
    RequestTimeout,
    ResultExpired,
    StillRunning,
    StoreUnavailable,
    TimedOut,
    TooManyFailed,
    Unauthenticated,
    UnexpectedAnswer,
    UnknownModel,
    Unreachable,
    UnsupportedMediaType,
    UnverifiedWebhook,
    UriTooLong,
    VersionConflict,
    WorkerLost,
    WrongMoment,
)
from penstock.events import JobEvent
from penstock.job import Job, JobMetrics, QueuePlace, StepMetrics
from penstock.mapping import MapProgress
from penstock.models import Model, ModelVersion, Tensor
from penstock.objects import StoredObject
from penstock.push import PushedRow, Pusher, push
from penstock.queues import ModelQueue, Queues
from penstock.scoring import RowError, Scoring, ScoringEstimate, ScoringFile, ScoringRows
from penstock.submission import Submission
from penstock.version import __version__
from penstock.webhooks import Delivery, DeliveryAttempt, WebhookEndpoint

if TYPE_CHECKING:
    from penstock.aio.client import AsyncPenstock
else:

    def __getattr__(name: str) -> object:
        # With asyncio it takes as long to import as all the rest: only who uses it waits for it.
        if name != "AsyncPenstock":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from penstock.aio.client import AsyncPenstock

        return AsyncPenstock


__all__ = [
    "AccessError",
    "AlreadyTerminal",
    "AsyncPenstock",
    "AttemptsExhausted",
    "Away",
    "BadRequest",
    "BrokerUnavailable",
    "Busy",
    "DeadLetter",
    "Delivery",
    "DeliveryAttempt",
    "Fault",
    "Forbidden",
    "FormerError",
    "HeadersTooLarge",
    "IdempotencyMismatch",
    "InputChanged",
    "InvalidInput",
    "InvalidJobInput",
    "Job",
    "JobCanceled",
    "JobEvent",
    "JobExpired",
    "JobFailure",
    "JobMetrics",
    "MalformedBody",
    "MapProgress",
    "MethodNotAllowed",
    "Model",
    "ModelError",
    "ModelQueue",
    "ModelVersion",
    "NotFound",
    "NotLoaded",
    "NotReady",
    "NotThere",
    "ObjectsUnavailable",
    "OutOfMemory",
    "PayloadTooLarge",
    "Penstock",
    "PenstockError",
    "PushedRow",
    "Pusher",
    "QueueFull",
    "QueuePlace",
    "Queues",
    "QuotaExceeded",
    "Replay",
    "ReplayPlan",
    "RequestTimeout",
    "ResultExpired",
    "RowError",
    "Scoring",
    "ScoringEstimate",
    "ScoringFile",
    "ScoringRows",
    "StepMetrics",
    "StillRunning",
    "StoreUnavailable",
    "StoredObject",
    "Submission",
    "Tensor",
    "TimedOut",
    "TooManyFailed",
    "Unauthenticated",
    "UnexpectedAnswer",
    "UnknownModel",
    "Unreachable",
    "UnsupportedMediaType",
    "UnverifiedWebhook",
    "UriTooLong",
    "VersionConflict",
    "WebhookEndpoint",
    "WorkerLost",
    "WrongMoment",
    "__version__",
    "push",
]
