"""What a caller asks for, and the request body that says it."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, TypedDict

from penstock.errors import InvalidInput
from penstock.inputs import Upload, encode, encode_inputs

Priority = Literal["high", "normal", "low"]


class JobOptions(TypedDict, total=False):
    """What may be said about a job beside its model, version and inputs."""

    parameters: Mapping[str, Any] | None
    priority: Priority
    #: Seconds it may wait in the queue.
    queue_ttl_s: float | None
    #: Seconds one attempt may run.
    timeout_s: float | None
    #: The moment after which the result is of no use; a datetime without a zone is local time.
    deadline: datetime | str | None
    max_attempts: int | None
    #: Seconds the result is kept.
    result_ttl_s: int | None
    metadata: Mapping[str, Any] | None
    #: A URL to call back, or `{"url": …, "events": […]}`.
    webhook: str | Mapping[str, Any] | None


class Options(JobOptions, total=False):
    """What may be said about a job beside its model and inputs."""

    version: str | None


class Submission(Options):
    """One job to be; the keywords of `client.jobs.submit`, for `submit_many`."""

    model: str
    #: Input names to values.
    inputs: Mapping[str, Any]


def document(submission: Submission, upload: Upload) -> dict[str, Any]:
    """The submission as the gateway reads it, without what is left to the gateway's defaults."""
    body: dict[str, Any] = {name: value for name, value in submission.items() if value is not None}
    body["inputs"] = encode_inputs(submission["inputs"], upload)
    if "parameters" in body:
        body["parameters"] = encode(body["parameters"], pointer="#/parameters")
    if isinstance(deadline := body.get("deadline"), datetime):
        body["deadline"] = deadline.astimezone().isoformat()
    if isinstance(webhook := body.get("webhook"), str):
        body["webhook"] = {"url": webhook}
    return body


def to_json(body: Any) -> bytes:
    """JSON as RFC 8259 has it; raises InvalidInput for NaN, infinities and lone surrogates."""
    try:
        return json.dumps(body, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"not expressible in JSON: {error}") from error
