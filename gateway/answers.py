"""Responses: JSON by msgspec."""

import msgspec
from flask import Response

from gateway.application import Whole
from gateway.asked import Reply

encode = msgspec.json.Encoder(decimal_format="number").encode


def answer(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """`value` as a JSON response."""
    return whole(encode(value), status, headers)


def whole(
    body: bytes, status: int = 200, headers: dict[str, str] | None = None, content_type: str = "application/json"
) -> Response:
    return Whole(body, status, headers or {}, content_type)


def from_reply(reply: Reply) -> Response:
    """As Flask wants it."""
    if not reply.content_type:
        return bare(reply.status, reply.headers)
    return whole(reply.body, reply.status, reply.headers, reply.content_type)


def bare(status: int, headers: dict[str, str]) -> Response:
    """A response without a body."""
    response = Response(status=status, headers=headers)
    del response.headers["Content-Type"]
    return response
