"""Submitting: accepted means that the store has the record and the broker the message."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from storage.job import Status
from tests.gateway.gate import ECHO, Gate, X


def test_accepted_job_has_a_record_and_a_message(gate: Gate) -> None:
    answer = gate.client.post("/v1/jobs", json=ECHO)
    assert answer.status_code == 202
    id = answer.json["id"]
    assert answer.headers["Location"] == f"http://localhost/v1/jobs/{id}"
    record = gate.record(id)
    assert (record.status, record.tenant, record.queue) == (Status.QUEUED, "local", "cpu.echo.1.normal")
    (message,) = gate.queued()
    assert json.loads(record.message) == message
    assert (message["id"], message["model"], message["version"], message["inputs"]) == (id, "echo", "1", {"x": X})


def test_job_object_has_every_field_of_the_contract(gate: Gate) -> None:
    gate.serve("echo", rows=10, busy_ms=20.0, executors=2)
    job = gate.client.post("/v1/jobs", json=ECHO | {"metadata": {"order": "A-17"}}).json
    own = f"http://localhost/v1/jobs/{job['id']}"
    assert job == {
        "id": job["id"], "object": "job", "model": "echo", "version": "1", "status": "queued",
        "waiting_reason": "behind_others", "queue": {"position": 1, "eta_s": 0.001}, "priority": "normal",
        "attempt": 0, "failures": 0, "worker_losses": 0, "interruptions": 0, "replays": 0, "progress": None,
            "created_at": job["created_at"], "started_at": None,
        "completed_at": None, "expires_at": None, "outputs": None, "error": None, "metadata": {"order": "A-17"},
        "webhook_status": None, "metrics": {"queue_ms": 0.0, "compute_ms": 0.0, "batch_size": 0, "device": ""},
        "urls": {"self": own, "result": own + "/result", "events": own + "/events", "cancel": own + "/cancel"},
    }  # fmt: skip
    assert len(job["created_at"]) == len("2026-01-01T00:00:00.000Z")


def test_what_a_submission_says_travels_in_the_message(gate: Gate) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    gate.submit(
        ECHO
        | {
            "priority": "high", "queue_ttl_s": 600, "timeout_s": 5, "deadline": "2100-01-01T00:00:00Z",
            "max_attempts": 2, "result_ttl_s": 60, "parameters": {"threshold": 0.5},
            "webhook": {"url": "https://erp.example/hook"},
        },
        traceparent=trace,
    )  # fmt: skip
    (message,) = gate.queued("cpu.echo.1.high")
    expected = {
        "queue_ttl_s": 600.0, "timeout_s": 5.0, "deadline": "2100-01-01T00:00:00Z", "max_attempts": 2,
        "result_ttl_s": 60, "parameters": {"threshold": 0.5}, "traceparent": trace,
        "webhook": {"url": "https://erp.example/hook", "events": ["job.completed"]},
    }  # fmt: skip
    assert {name: message[name] for name in expected} == expected


def test_model_limits_bound_what_a_client_asks_for(gate: Gate) -> None:
    gate.submit(ECHO | {"timeout_s": 3600, "max_attempts": 50})
    gate.submit(ECHO)
    assert [message.get("timeout_s") for message in gate.queued()] == [30.0, None]
    assert [message.get("max_attempts", 3) for message in gate.queued()] == [3, 3]


def test_job_is_pinned_to_the_newest_version_or_the_one_asked_for(gate: Gate) -> None:
    submission = {"model": "reader", "inputs": {"image": "a"}}
    gate.submit(submission)
    gate.submit(submission | {"version": "1"})
    assert [len(gate.queued(f"cpu.reader.{version}.normal")) for version in ("1", "2")] == [1, 1]


def test_rows_are_counted(gate: Gate) -> None:
    gate.submit({"model": "echo", "inputs": {"x": [X, X, X]}})
    assert gate.queued()[0]["rows"] == 3


def test_weight_and_shape_are_told_where_the_model_asks_for_them(gate: Gate) -> None:
    gate.submit({"model": "weighed", "inputs": {"text": ["short", "not so short"], "image": [[[1, 2, 3]]] * 2}})
    gate.submit({"model": "echo", "inputs": {"x": X}})
    ((weighed,), (plain,)) = gate.queued("cpu.weighed.1.normal"), gate.queued()
    assert (weighed["rows"], weighed["weight"], weighed["shape"]) == (2, 3, "1x3")
    assert not {"rows", "weight", "shape"} & plain.keys()


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"model": "ecko"}, "did you mean echo"),
        ({"version": "7"}, "it has 1"),
        ({"model": "broken"}, "its manifest is broken"),
        ({"model": "m" * 100}, "no model"),
    ],
)
def test_unknown_model_is_404_and_says_what_there_is(gate: Gate, change: dict[str, Any], detail: str) -> None:
    answer = gate.client.post("/v1/jobs", json=ECHO | change)
    assert (answer.status_code, answer.json["code"]) == (404, "unknown_model")
    assert detail in answer.json["detail"]


def test_full_lane_answers_429_with_retry_after(gate: Gate) -> None:
    submission = {"model": "narrow", "inputs": {"x": [1]}}
    gate.submit(submission)
    gate.submit(submission)
    answer = gate.client.post("/v1/jobs", json=submission)
    assert (answer.status_code, answer.json["code"], answer.json["retryable"]) == (429, "queue_full", True)
    assert int(answer.headers["Retry-After"]) == answer.json["retry_after_s"] == 4
    assert len(gate.queued("cpu.narrow.1.normal")) == 2
    gate.submit(submission | {"priority": "high"})


def test_malformed_trace_context_begins_a_new_trace(gate: Gate) -> None:
    gate.submit(ECHO, traceparent="no-trace")
    assert "traceparent" not in gate.queued()[0]


def test_addresses_are_those_the_operator_configured(make: Callable[..., Gate]) -> None:
    gate = make(public_url="https://farm.example/")
    answer = gate.client.post("/v1/jobs", json=ECHO)
    assert answer.headers["Location"] == f"https://farm.example/v1/jobs/{answer.json['id']}"


def test_absurd_host_header_is_not_echoed(gate: Gate) -> None:
    with gate.client as client:
        key = gate.parts.access.create("acme")
        headers = {"Host": "evil.example/path?", "Authorization": f"Bearer {key}"}
        answer = client.post("/v1/jobs", json=ECHO, headers=headers)
    assert "evil" not in answer.text
