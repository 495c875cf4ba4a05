"""The web tier: Flask takes a job, and answers for its state."""

import base64
import binascii
import hmac
import math
import os
import uuid
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, jsonify, request

from bench.plain.work import KEPT_S, NAME, PICTURE, run, run_jpeg, run_pixels, store
from bench.plain.work import app as celery

WIDTH = 16
LONGEST_TEXT = 10_000
#: A JPEG file begins so.
JPEG = b"\xff\xd8\xff"

app = Flask(__name__)


class Refused(Exception):
    """The inputs are not the model's."""


def submit_echo(body: dict[str, Any]) -> str:
    rows = body.get("x")
    if not isinstance(rows, list) or not all(is_row(row) for row in rows):
        raise Refused(f"x must be rows of {WIDTH} numbers")
    return str(run.apply_async((rows,)).id)


def is_row(row: object) -> bool:
    return isinstance(row, list) and len(row) == WIDTH and all(isinstance(number, int | float) for number in row)


def submit_minilm(body: dict[str, Any]) -> str:
    texts = body.get("text")
    if not isinstance(texts, list) or not all(isinstance(one, str) and len(one) <= LONGEST_TEXT for one in texts):
        raise Refused(f"text must be sentences of at most {LONGEST_TEXT} characters")
    return str(run.apply_async((texts,)).id)


def submit_cnn(body: dict[str, Any]) -> str:
    images = body.get("image")
    image = images[0] if isinstance(images, list) and len(images) == 1 else None
    if not isinstance(image, dict) or not decoded(image).startswith(JPEG):
        raise Refused("image must be one {b64} of a JPEG file")
    return str(run_jpeg.apply_async((image["b64"],)).id)


def submit_pixels(body: dict[str, Any]) -> str:
    data = decoded(body.get("image"))
    if len(data) != math.prod(PICTURE):
        raise Refused("image must be {b64} of 224 x 224 x 3 bytes")
    key = f"pixels:{uuid.uuid4().hex}"
    store.set(key, data, ex=KEPT_S)
    return str(run_pixels.apply_async((key,)).id)


def decoded(image: Any) -> bytes:
    """The bytes of an `{"b64": …}`; empty where it is none."""
    try:
        return base64.b64decode(image["b64"], validate=True)
    except (KeyError, TypeError, binascii.Error):
        return b""


SUBMIT: dict[str, Callable[[dict[str, Any]], str]] = {
    "echo": submit_echo, "minilm": submit_minilm, "cnn": submit_cnn, "pixels": submit_pixels,
}  # fmt: skip


@app.before_request
def authenticate() -> tuple[Response, int] | None:
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if hmac.compare_digest(given.encode(), os.environ["PLAIN_KEY"].encode()):
        return None
    return jsonify(error="unknown API key"), 401


@app.post("/jobs")
def submit() -> tuple[Response, int]:
    body = request.get_json()
    try:
        return jsonify(id=SUBMIT[NAME](body if isinstance(body, dict) else {})), 202
    except Refused as refused:
        return jsonify(error=str(refused)), 422


@app.get("/jobs/<id>")
def get(id: str) -> Response:
    # One read of the result backend: each property of AsyncResult would be one of its own.
    meta = celery.backend.get_task_meta(id)
    result = meta["result"] if meta["status"] == "SUCCESS" else None
    return jsonify(id=id, status=meta["status"], result=result)
