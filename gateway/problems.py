"""The one place where an error becomes an answer: RFC 9457 problem documents."""

import logging
import math
from typing import Any

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import MethodNotAllowed as WerkzeugMethodNotAllowed
from werkzeug.exceptions import NotFound as WerkzeugNotFound

from errors import PROBLEM_BASE, Forbidden, MethodNotAllowed, NotFound, PenstockError
from gateway.answers import encode, from_reply
from gateway.asked import Reply

log = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"


def install(app: Flask) -> None:
    app.register_error_handler(Exception, respond)


def respond(error: Exception) -> Response:
    """For Flask: an exception as a response."""
    return from_reply(reply(error, id=g.request_id, method=request.method, path=request.path))


def reply(error: Exception, *, id: str, method: str, path: str) -> Reply:
    """Any exception as a problem document; what nobody foresaw is logged and shown as a bare 500."""
    headers: dict[str, str] = {}
    if isinstance(error, HTTPException):
        problem = from_http(error, headers, method=method, path=path)
    elif isinstance(error, PenstockError) and error.code != "internal_error":
        problem = error.problem()
        if error.retry_after_s is not None:
            headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
        if error.status == 401:
            headers["WWW-Authenticate"] = 'Bearer realm="penstock"'
        if error.status in (408, 431):
            # What else comes on this connection is not wanted.
            headers["Connection"] = "close"
        if isinstance(error, Forbidden) and error.scope:
            # RFC 6750, 3.1.
            headers["WWW-Authenticate"] = f'Bearer realm="penstock", error="insufficient_scope", scope="{error.scope}"'
    else:
        log.error("request failed", exc_info=error, extra={"request": id, "path": path[:200]})
        problem = PenstockError("the gateway met an error of its own; its log has the details").problem()
    return document(problem, id=id, headers=headers)


def document(problem: dict[str, Any], *, id: str, headers: dict[str, str] | None = None) -> Reply:
    """A problem as an answer, with the request's id in it."""
    problem["request_id"] = id
    return Reply(problem["status"], encode(problem), headers or {}, CONTENT_TYPE)


def from_http(error: HTTPException, headers: dict[str, str], *, method: str, path: str) -> dict[str, Any]:
    if isinstance(error, WerkzeugNotFound):
        return NotFound(f"nothing is at {path[:200]}; /docs lists what is").problem()
    if isinstance(error, WerkzeugMethodNotAllowed):
        allowed = ", ".join(sorted(error.valid_methods or ()))
        headers["Allow"] = allowed
        return MethodNotAllowed(f"{method[:20]} is not allowed here; use {allowed}").problem()
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
