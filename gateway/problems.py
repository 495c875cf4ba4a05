"""The one place where an error becomes an answer: RFC 9457 problem documents."""

import logging
import math

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import MethodNotAllowed as WerkzeugMethodNotAllowed
from werkzeug.exceptions import NotFound as WerkzeugNotFound

from errors import PROBLEM_BASE, MethodNotAllowed, NotFound, PenstockError
from gateway.answers import encode, whole

log = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"


def install(app: Flask) -> None:
    app.register_error_handler(Exception, respond)


def respond(error: Exception) -> Response:
    """Any exception as a problem document; what nobody foresaw is logged and shown as a bare 500."""
    headers: dict[str, str] = {}
    if isinstance(error, HTTPException):
        problem = from_http(error, headers)
    elif isinstance(error, PenstockError) and error.code != "internal_error":
        problem = error.problem()
        if error.retry_after_s is not None:
            headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
        if error.status == 401:
            headers["WWW-Authenticate"] = 'Bearer realm="penstock"'
    else:
        log.error("request failed", exc_info=error, extra={"request": g.request_id, "path": request.path[:200]})
        problem = PenstockError("the gateway met an error of its own; its log has the details").problem()
    return document(problem, headers)


def document(problem: dict[str, object], headers: dict[str, str] | None = None) -> Response:
    """A problem as a response, with this request's id in it."""
    problem["request_id"] = g.request_id
    status = problem["status"]
    return whole(encode(problem), status, headers, CONTENT_TYPE)  # type: ignore[arg-type]


def from_http(error: HTTPException, headers: dict[str, str]) -> dict[str, object]:
    if isinstance(error, WerkzeugNotFound):
        return NotFound(f"nothing is at {request.path[:200]}; /docs lists what is").problem()
    if isinstance(error, WerkzeugMethodNotAllowed):
        allowed = ", ".join(sorted(error.valid_methods or ()))
        headers["Allow"] = allowed
        return MethodNotAllowed(f"{request.method[:20]} is not allowed here; use {allowed}").problem()
    status = error.code or 500
    code = error.name.lower().replace(" ", "_")
    return {
        "type": PROBLEM_BASE + code.replace("_", "-"),
        "title": error.name,
        "status": status,
        "code": code,
        "detail": error.description or error.name,
        "retryable": status in (408, 429, 502, 503, 504),
    }
