"""Every error a client or an operator can meet, in one tree.

PenstockError
├── BadRequest        invalid_input 422 · malformed_body 400 · payload_too_large 413
│                     request_timeout 408 · uri_too_long 414 · headers_too_large 431
│                     unsupported_media_type 415 · idempotency_mismatch 422
├── AccessError       unauthenticated 401 · forbidden 403
├── NotThere          not_found 404 · unknown_model 404 · method_not_allowed 405 · result_expired 410
├── WrongMoment       not_ready 409 · already_terminal 409
│                     not_loaded 409 · version_conflict 409 · input_changed 409
├── Busy              queue_full 429 · quota_exceeded 429
├── Away              broker_unavailable 503 · store_unavailable 503 · objects_unavailable 503
├── DeliveryError     target_refused · unreachable: recorded with a webhook's attempt, answered to nobody
├── JobFailure        model_error · out_of_memory · worker_lost · timed_out · attempts_exhausted
│                     too_many_failed_rows: a scoring's
└── OperatorError     settings, manifests, packages, checkouts: what stops a process at its start

A class knows its code, its HTTP status and whether a retry can help; its docstring is the title.
"""

from collections.abc import Sequence
from typing import ClassVar

import msgspec

#: Where the problem types live (RFC 9457 `type`); the last part is the code with dashes.
PROBLEM_BASE = "https://penstock.dev/problems/"


class Fault(msgspec.Struct, frozen=True):
    """One thing wrong with the input, and where: a JSON pointer in URI fragment form (RFC 6901)."""

    pointer: str
    detail: str


class PenstockError(Exception):
    """Internal error."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        detail: str = "",
        *,
        faults: Sequence[Fault] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(detail or self.title())
        self.detail = detail or self.title()
        self.faults = tuple(faults)
        self.retry_after_s = retry_after_s

    @classmethod
    def title(cls) -> str:
        return (cls.__doc__ or cls.code).strip().splitlines()[0].rstrip(".")

    def problem(self) -> dict[str, object]:
        """The error as an RFC 9457 problem document, without `request_id`."""
        problem: dict[str, object] = {
            "type": PROBLEM_BASE + self.code.replace("_", "-"),
            "title": self.title(),
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            "retryable": self.retryable,
        }
        if self.retry_after_s is not None:
            problem["retry_after_s"] = self.retry_after_s
        if self.faults:
            problem["errors"] = [msgspec.to_builtins(fault) for fault in self.faults]
        return problem


class BadRequest(PenstockError):
    """Bad request."""

    code, status = "bad_request", 400


class InvalidInput(BadRequest):
    """Invalid input."""

    code, status = "invalid_input", 422


class MalformedBody(BadRequest):
    """Malformed body."""

    code, status = "malformed_body", 400


class PayloadTooLarge(BadRequest):
    """Payload too large."""

    code, status = "payload_too_large", 413


class RequestTimeout(BadRequest):
    """The body did not arrive in time."""

    code, status, retryable = "request_timeout", 408, True


class UriTooLong(BadRequest):
    """The address is too long."""

    code, status = "uri_too_long", 414


class HeadersTooLarge(BadRequest):
    """The headers are too large."""

    code, status = "headers_too_large", 431


class UnsupportedMediaType(BadRequest):
    """Unsupported media type."""

    code, status = "unsupported_media_type", 415


class IdempotencyMismatch(BadRequest):
    """This Idempotency-Key was used with another body."""

    code, status = "idempotency_mismatch", 422


class AccessError(PenstockError):
    """Access refused."""

    code, status = "forbidden", 403


class Unauthenticated(AccessError):
    """A valid API key is required."""

    code, status = "unauthenticated", 401


class Forbidden(AccessError):
    """This key may not do that."""

    code, status = "forbidden", 403

    def __init__(self, detail: str = "", *, scope: str = "") -> None:
        super().__init__(detail)
        #: What the key would have to be allowed to do.
        self.scope = scope


class NotThere(PenstockError):
    """Not there."""

    code, status = "not_found", 404


class NotFound(NotThere):
    """Not found."""

    code, status = "not_found", 404


class UnknownModel(NotThere):
    """No such model or version."""

    code, status = "unknown_model", 404


class MethodNotAllowed(NotThere):
    """Method not allowed."""

    code, status = "method_not_allowed", 405


class ResultExpired(NotThere):
    """The result has expired or was deleted."""

    code, status = "result_expired", 410


class WrongMoment(PenstockError):
    """Not now."""

    code, status = "conflict", 409


class NotReady(WrongMoment):
    """The job has no result yet."""

    code, status, retryable = "not_ready", 409, True


class AlreadyTerminal(WrongMoment):
    """The job's state does not allow that."""

    code, status = "already_terminal", 409


class NotLoaded(WrongMoment):
    """This version is not loaded."""

    code, status = "not_loaded", 409


class VersionConflict(WrongMoment):
    """The model's labels or traffic do not allow that."""

    code, status = "version_conflict", 409


class InputChanged(WrongMoment):
    """The input was changed after it was accepted."""

    code, status = "input_changed", 409


class Busy(PenstockError):
    """Busy."""

    code, status, retryable = "busy", 429, True


class QueueFull(Busy):
    """Queue full."""

    code, status, retryable = "queue_full", 429, True


class QuotaExceeded(Busy):
    """Quota exceeded."""

    code, status, retryable = "quota_exceeded", 429, True


class Away(PenstockError):
    """A part of the farm cannot be reached."""

    code, status, retryable = "unavailable", 503, True


class BrokerUnavailable(Away):
    """The broker cannot be reached."""

    code, status, retryable = "broker_unavailable", 503, True


class StoreUnavailable(Away):
    """The job store cannot be reached."""

    code, status, retryable = "store_unavailable", 503, True


class ObjectsUnavailable(Away):
    """The object store cannot be reached."""

    code, status, retryable = "objects_unavailable", 503, True


class DeliveryError(PenstockError):
    """The webhook was not delivered."""

    code = "not_delivered"


class TargetRefused(DeliveryError):
    """A webhook may not go there."""

    code = "target_refused"


class Unreachable(DeliveryError):
    """The receiver did not answer."""

    code, retryable = "unreachable", True


class JobFailure(PenstockError):
    """The job failed."""

    code, status = "model_error", 500


class ModelError(JobFailure):
    """The model raised an error."""

    code, status, retryable = "model_error", 500, True


class OutOfMemory(JobFailure):
    """The model ran out of memory."""

    code, status = "out_of_memory", 500


class WorkerLost(JobFailure):
    """The process that ran the job died."""

    code, status = "worker_lost", 500


class TimedOut(JobFailure):
    """The job ran past its timeout."""

    code, status = "timed_out", 504


class AttemptsExhausted(JobFailure):
    """The job was delivered too often without an outcome."""

    code, status = "attempts_exhausted", 500


class TooManyFailed(JobFailure):
    """More rows failed than may."""

    code, status = "too_many_failed_rows", 422


class OperatorError(PenstockError):
    """The farm is set up wrong."""

    code = "operator_error"


class SettingsError(OperatorError):
    """A setting is wrong."""

    code = "settings_error"


class ManifestError(OperatorError):
    """A model's manifest or files are wrong."""

    code = "manifest_error"


class LoadError(OperatorError):
    """A model could not be loaded."""

    code = "load_error"


class PackageError(OperatorError):
    """A model package is wrong."""

    code = "package_error"


class FetchError(OperatorError):
    """A file could not be fetched."""

    code = "fetch_error"


class VersionExists(OperatorError):
    """The model has this version already."""

    code, status = "version_exists", 409
