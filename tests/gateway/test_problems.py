"""Errors: one shape everywhere, a request id in each, and never a stack trace."""

import logging
from typing import Any

import pytest

from gateway.parts import Parts
from storage.statistics import Recorder
from tests.gateway.gate import ECHO, Gate

FIELDS = {"type", "title", "status", "code", "detail", "retryable", "request_id"}


def check(answer: Any, status: int, code: str) -> None:
    assert answer.content_type == "application/problem+json"
    problem = answer.json
    assert set(problem) >= FIELDS
    assert (answer.status_code, problem["status"], problem["code"]) == (status, status, code)
    assert problem["type"] == "https://penstock.dev/problems/" + code.replace("_", "-")
    assert problem["request_id"] == answer.headers["X-Request-Id"]


def test_unknown_path_is_a_problem(gate: Gate) -> None:
    for path in ("/", "/v1", "/v1/jobs/a/b/c", "/v2/jobs", "/v1//jobs", "/%ff%fe"):
        check(gate.client.get(path), 404, "not_found")


def test_wrong_method_is_a_problem_that_says_what_is_allowed(gate: Gate) -> None:
    answer = gate.client.put("/v1/jobs")
    check(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"] == "GET, HEAD, POST"
    check(gate.client.open("/v1/jobs", method="OPTIONS"), 405, "method_not_allowed")


def test_what_nobody_foresaw_is_a_bare_500_and_logged(
    gate: Gate, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(gate.parts.submitter, "submit", fail)
    answer = gate.client.post("/v1/jobs", json=ECHO)
    check(answer, 500, "internal_error")
    assert "secret detail" not in answer.text
    assert "Traceback" not in answer.text
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR and record.exc_info]
    assert vars(record)["request"] == answer.json["request_id"]


def test_clients_own_request_id_is_kept_if_it_is_sane(gate: Gate) -> None:
    assert gate.client.get("/livez", headers={"X-Request-Id": "abc-1.2"}).headers["X-Request-Id"] == "abc-1.2"
    for strange in ("a b", "x" * 65, "<script>", ""):
        assert gate.client.get("/livez", headers={"X-Request-Id": strange}).headers["X-Request-Id"] != strange


def test_requests_are_counted_by_route(gate: Gate) -> None:
    gate.client.get("/v1/jobs/job_a")
    gate.client.get("/v1/jobs/job_b")
    gate.client.get("/nothing")
    text = gate.client.get("/metrics").text
    assert 'penstock_http_request_seconds_count{method="GET",route="/v1/jobs/<id>",status="404"} 2.0' in text
    assert 'penstock_http_request_seconds_count{method="other",route="none",status="404"} 1.0' in text


def test_metrics_show_the_farm(gate: Gate) -> None:
    done = Recorder()
    done.add_batch(rows=3, queue_ms=[4, 40], stages_ms={"compute": 1500.0})
    done.add_restart("hung")
    gate.serve("echo", executors=2, figures=done.take())
    gate.finish(gate.submit())
    gate.submit()
    text = gate.client.get("/metrics").text
    for line in (
        "penstock_store_up 1.0",
        'penstock_jobs_total{state="succeeded"} 1.0',
        'penstock_jobs_total{state="failed"} 0.0',
        'penstock_waiting_jobs{lane="normal",model="echo",pool="cpu",version="1"} 1.0',
        'penstock_workers{pool="cpu"} 1.0',
        'penstock_executors{model="echo",pool="cpu",version="1"} 2.0',
        'penstock_model_rows_total{model="echo",pool="cpu",version="1"} 3.0',
        'penstock_model_batches_total{model="echo",pool="cpu",version="1"} 1.0',
        'penstock_executor_restarts_total{cause="hung",model="echo",pool="cpu",version="1"} 1.0',
        'penstock_job_queue_seconds_bucket{le="0.005",model="echo",pool="cpu",version="1"} 1.0',
        'penstock_job_queue_seconds_bucket{le="+Inf",model="echo",pool="cpu",version="1"} 2.0',
        'penstock_batch_compute_seconds_sum{model="echo",pool="cpu",version="1"} 1.5',
        'penstock_batch_compute_seconds_count{model="echo",pool="cpu",version="1"} 1.0',
        'penstock_batch_commit_seconds_count{model="echo",pool="cpu",version="1"} 0.0',
    ):
        assert line in text.splitlines()


def test_parts_hold_what_the_gateway_is_made_of(gate: Gate) -> None:
    assert isinstance(gate.parts, Parts)
