"""The web tier: Flask takes a job, and answers for its state."""

import hmac
import os

from flask import Flask, Response, jsonify, request

from bench.plain.work import app as celery
from bench.plain.work import run

WIDTH = 16

app = Flask(__name__)


@app.before_request
def authenticate() -> tuple[Response, int] | None:
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if hmac.compare_digest(given.encode(), os.environ["PLAIN_KEY"].encode()):
        return None
    return jsonify(error="unknown API key"), 401


@app.post("/jobs")
def submit() -> tuple[Response, int]:
    body = request.get_json()
    x = body.get("x") if isinstance(body, dict) else None
    if not isinstance(x, list) or len(x) != WIDTH or not all(isinstance(number, int | float) for number in x):
        return jsonify(error=f"x must be {WIDTH} numbers"), 422
    return jsonify(id=run.apply_async((x,)).id), 202


@app.get("/jobs/<id>")
def get(id: str) -> Response:
    # One read of the result backend: each property of AsyncResult would be one of its own.
    meta = celery.backend.get_task_meta(id)
    result = meta["result"] if meta["status"] == "SUCCESS" else None
    return jsonify(id=id, status=meta["status"], result=result)
