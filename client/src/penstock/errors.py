"""Every error the client raises, in one tree.

PenstockError
├── Unreachable        no answer: refused, reset, timed out
├── UnexpectedAnswer   an answer, but not Penstock's
├── StillRunning       a wait ran out before the job ended; a TimeoutError too
├── UnverifiedWebhook  a webhook that is not, or not certainly, from the farm
├── BadRequest         InvalidInput · MalformedBody · PayloadTooLarge · UnsupportedMediaType · IdempotencyMismatch
│                      RequestTimeout · UriTooLong · HeadersTooLarge
├── AccessError        Unauthenticated · Forbidden
├── NotThere           NotFound · UnknownModel · MethodNotAllowed · ResultExpired
├── WrongMoment        NotReady · AlreadyTerminal · NotLoaded · VersionConflict · InputChanged
├── Busy               QueueFull · QuotaExceeded
├── Away               BrokerUnavailable · StoreUnavailable · ObjectsUnavailable
└── JobFailure         ModelError · OutOfMemory · WorkerLost · TimedOut · AttemptsExhausted
                       TooManyFailed
                       JobCanceled · JobExpired · InvalidJobInput (an InvalidInput too)

There is a class for each problem code of the gateway. A code this version does not know becomes the
branch that its HTTP status names, with `code` as the gateway sent it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with the input, and where: a JSON pointer in URI fragment form (RFC 6901)."""

    pointer: str
    detail: str


class PenstockError(Exception):
    """Something went wrong between this program and the farm, or inside the farm."""

    code: str = "internal_error"
    #: HTTP status; None where there was no answer.
    status: int | None = None
    #: Whether the same call can succeed later.
    retryable: bool = False

    def __init__(
        self,
        detail: str = "",
        *,
        code: str | None = None,
        status: int | None = None,
        retryable: bool | None = None,
        retry_after_s: float | None = None,
        errors: Sequence[Fault] = (),
        request_id: str | None = None,
    ) -> None:
        self.detail = detail or self.title()
        super().__init__(self.detail)
        self.code = type(self).code if code is None else code
        self.status = type(self).status if status is None else status
        self.retryable = type(self).retryable if retryable is None else retryable
        self.retry_after_s = retry_after_s
        self.errors = tuple(errors)
        self.request_id = request_id

    @classmethod
    def title(cls) -> str:
        return (cls.__doc__ or cls.code).strip().splitlines()[0].rstrip(".")

    def problem(self) -> dict[str, Any]:
        """The error as the gateway's problem document would say it (RFC 9457)."""
        fields = {
            "code": self.code,
            "status": self.status,
            "title": self.title(),
            "detail": self.detail,
            "retryable": self.retryable,
            "retry_after_s": self.retry_after_s,
            "request_id": self.request_id,
            "errors": [{"pointer": fault.pointer, "detail": fault.detail} for fault in self.errors],
        }
        return {name: value for name, value in fields.items() if value not in (None, [])}


class Unreachable(PenstockError):
    """The gateway cannot be reached."""

    code, retryable = "unreachable", True
    #: False where the request certainly never left, so that repeating it is safe.
    sent = True


class UnexpectedAnswer(PenstockError):
    """The answer is not one of a Penstock gateway."""

    code = "unexpected_answer"


class StillRunning(PenstockError, TimeoutError):
    """The job has not ended yet."""

    code, retryable = "still_running", True


class UnverifiedWebhook(PenstockError):
    """The webhook is not certainly from the farm."""

    code = "unverified_webhook"


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

    code, status = "access_refused", 403


class Unauthenticated(AccessError):
    """A valid API key is required."""

    code, status = "unauthenticated", 401


class Forbidden(AccessError):
    """This key may not do that."""

    code, status = "forbidden", 403


class NotThere(PenstockError):
    """Not there."""

    code, status = "not_there", 404


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


class JobFailure(PenstockError):
    """The job did not succeed."""

    code, status = "job_failed", 500
    #: The job that failed, where it is known.
    job_id: str | None = None


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
    """More rows of a scoring failed than may."""

    code, status = "too_many_failed_rows", 422


class JobCanceled(JobFailure):
    """The job was canceled."""

    code, status = "canceled", 409


class JobExpired(JobFailure):
    """The job expired before it ran."""

    code, status = "expired", 410


class InvalidJobInput(JobFailure, InvalidInput):
    """The job's input turned out to be invalid when it ran."""

    code, status = "invalid_input", 422


Kind = TypeVar("Kind", bound=PenstockError)


def below(cls: type[Kind]) -> Iterator[type[Kind]]:
    """The class and all that are derived from it."""
    yield cls
    for child in cls.__subclasses__():
        yield from below(child)


FAILURES: Mapping[str, type[JobFailure]] = {cls.code: cls for cls in below(JobFailure)}
#: A code that both a refusal and a job's failure can have means the refusal here.
ANSWERS: Mapping[str, type[PenstockError]] = {
    cls.code: cls for cls in below(PenstockError) if cls is not InvalidJobInput
}
#: For answers without a known code: a proxy's, or a newer gateway's.
BRANCHES: Mapping[int, type[PenstockError]] = {
    401: Unauthenticated,
    403: AccessError,
    404: NotThere,
    405: MethodNotAllowed,
    409: WrongMoment,
    408: RequestTimeout,
    410: NotThere,
    413: PayloadTooLarge,
    414: UriTooLong,
    415: UnsupportedMediaType,
    429: Busy,
    431: HeadersTooLarge,
    502: Away,
    503: Away,
    504: Away,
}


def answer_error(problem: Mapping[str, Any], *, status: int) -> PenstockError:
    """The error that an answer of the gateway means."""
    by_status = BRANCHES.get(status, BadRequest if status < 500 else PenstockError)
    cls = ANSWERS.get(str(problem.get("code")), by_status)
    return built(cls, {"detail": f"HTTP status {status}", **problem, "status": status})


def job_failure(problem: Mapping[str, Any], *, job_id: str) -> JobFailure:
    """The error that a job's `error` field means."""
    failure = built(FAILURES.get(str(problem.get("code")), JobFailure), problem)
    failure.job_id = job_id
    return failure


def built(cls: type[Kind], problem: Mapping[str, Any]) -> Kind:
    faults = [Fault(str(item.get("pointer", "")), str(item.get("detail", ""))) for item in problem.get("errors") or ()]
    return cls(
        str(problem.get("detail") or problem.get("title") or ""),
        code=problem.get("code"),
        status=problem.get("status"),
        retryable=problem.get("retryable"),
        retry_after_s=problem.get("retry_after_s"),
        errors=faults,
        request_id=problem.get("request_id"),
    )
