"""A job looked at: its states, its result, and what its owner may do to it."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from storage.job import Status
from tests.gateway.gate import ECHO, Gate

PROBLEM = {
    "type": "https://penstock.dev/problems/model-error", "title": "The model raised an error", "status": 500,
    "code": "model_error", "detail": "ValueError: asked to", "retryable": True,
}  # fmt: skip


def failed(gate: Gate, problem: object = PROBLEM) -> str:
    id = gate.submit()
    gate.finish(id, status=Status.FAILED, error=json.dumps(problem).encode())
    return id


def canceled(gate: Gate) -> str:
    id = gate.submit()
    gate.client.post(f"/v1/jobs/{id}/cancel")
    return id


def get(gate: Gate, path: str, **headers: str) -> Any:
    return gate.client.get(f"/v1/jobs/{path}", headers=headers)


def test_succeeded_job_shows_its_outputs_and_figures(gate: Gate) -> None:
    id = gate.submit()
    gate.finish(id, {"y": [[0.5]]}, compute_ms=3.25)
    job = get(gate, id).json
    assert (job["status"], job["outputs"], job["error"], job["waiting_reason"]) == (
        "succeeded",
        {"y": [[0.5]]},
        None,
        None,
    )
    assert job["queue"] is None
    assert job["metrics"] == job["metrics"] | {"compute_ms": 3.25, "batch_size": 1, "device": "cpu:0"}


def test_failed_job_shows_its_problem(gate: Gate) -> None:
    job = get(gate, failed(gate)).json
    assert (job["status"], job["error"], job["outputs"]) == ("failed", PROBLEM, None)


def test_entity_tag_spares_what_the_client_has(gate: Gate) -> None:
    id = gate.submit()
    tag = get(gate, id).headers["ETag"]
    same = get(gate, id, **{"If-None-Match": f'"other", W/{tag}'})
    assert (same.status_code, same.data, same.headers["ETag"]) == (304, b"", tag)
    assert get(gate, id, **{"If-None-Match": "*"}).status_code == 304
    gate.finish(id)
    changed = get(gate, id, **{"If-None-Match": tag})
    assert changed.status_code == 200
    assert "Retry-After" not in changed.headers


def test_head_answers_without_a_body(gate: Gate) -> None:
    answer = gate.client.head(f"/v1/jobs/{gate.submit()}")
    assert (answer.status_code, answer.data) == (200, b"")


@pytest.mark.parametrize(
    ("states", "reason"),
    [
        ([], "no_worker"),
        (["failed"], "no_worker"),
        (["loading"], "model_loading"),
        (["loading", "ready"], "behind_others"),
    ],
)
def test_queued_job_says_why_it_waits(gate: Gate, states: list[Any], reason: str) -> None:
    for state in states:
        gate.serve("echo", state, version="1")
        gate.serve("reader", state, version="2")
    assert get(gate, gate.submit()).json["waiting_reason"] == reason


def test_job_that_failed_before_waits_for_its_retry(gate: Gate) -> None:
    from storage.jobs import Return

    id = gate.submit()
    token, job = gate.start(id), gate.record(id)
    again = Return(id=id, queue=job.queue, token=token, not_before_ms=job.created_ms + 60_000, failures=1)
    assert gate.parts.jobs.requeue_all([again]) == ["queued"]
    shown = get(gate, id).json
    assert (shown["status"], shown["waiting_reason"], shown["attempt"]) == ("queued", "retrying", 1)


def test_place_in_the_queue_and_time_to_go(gate: Gate) -> None:
    gate.serve("echo", rows=10, busy_ms=10_000.0, executors=2)
    ids = [gate.submit() for _ in range(3)]
    answer = get(gate, ids[2])
    assert answer.json["queue"] == {"position": 3, "eta_s": 1.5}
    assert answer.headers["Retry-After"] == "2"


def test_result_of_a_succeeded_job_is_its_outputs(gate: Gate) -> None:
    id = gate.submit()
    gate.finish(id, {"y": [[0.5]]})
    assert get(gate, id + "/result").json == {"y": [[0.5]]}


def test_large_result_leads_to_the_object_for_a_while(gate: Gate) -> None:
    id = gate.submit()
    gate.parts.objects.put(f"local/jobs/{id}/out/1", [b'{"y": "long"}'])
    gate.finish(id, outputs_key=f"local/jobs/{id}/out/1")
    assert get(gate, id).json["outputs"] is None
    answer = get(gate, id + "/result")
    assert answer.status_code == 303
    assert gate.client.get(answer.headers["Location"]).json == {"y": "long"}


def test_result_that_is_not_there_yet_is_409(gate: Gate) -> None:
    answer = get(gate, gate.submit() + "/result")
    assert (answer.status_code, answer.json["code"], answer.headers["Retry-After"]) == (409, "not_ready", "1")


@pytest.mark.parametrize(
    ("problem", "status"),
    [
        (PROBLEM, 500),
        (PROBLEM | {"status": 504, "code": "timed_out"}, 504),
        (PROBLEM | {"status": 422, "code": "invalid_input"}, 422),
        (PROBLEM | {"status": 7}, 500),
        ({}, 500),
        ([1], 500),
    ],
)
def test_result_of_a_failed_job_is_its_problem(gate: Gate, problem: Any, status: int) -> None:
    answer = get(gate, failed(gate, problem) + "/result")
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")
    known = problem if isinstance(problem, dict) and problem else PROBLEM
    assert answer.json["code"] == known["code"]
    assert answer.json["request_id"] == answer.headers["X-Request-Id"]


def test_result_of_a_canceled_job_is_409(gate: Gate) -> None:
    answer = get(gate, canceled(gate) + "/result")
    assert (answer.status_code, answer.json["code"]) == (409, "already_terminal")


def test_job_past_its_time_is_410(gate: Gate) -> None:
    id = gate.submit(ECHO | {"result_ttl_s": 1})
    gate.finish(id)
    gate.store.hset(f"penstock:job:{id}", "expires_ms", 1)
    for path in (id, id + "/result", id + "/events"):
        answer = get(gate, path)
        assert (answer.status_code, answer.json["code"]) == (410, "result_expired")
    gate.parts.jobs.erase(gate.record(id), reason="expired")
    assert get(gate, id).json["detail"].startswith(f"job {id} has expired")


def test_cancel_ends_a_queued_job_and_is_idempotent(gate: Gate) -> None:
    id = gate.submit()
    first, second = (gate.client.post(f"/v1/jobs/{id}/cancel") for _ in range(2))
    assert (first.status_code, first.json["status"]) == (200, "canceled")
    assert second.json == first.json


def test_cancel_flags_a_running_job(gate: Gate) -> None:
    id = gate.submit()
    gate.start(id)
    assert gate.client.post(f"/v1/jobs/{id}/cancel").json["status"] == "running"
    assert gate.record(id).cancel_requested


def test_cancel_leaves_an_ended_job_as_it_is(gate: Gate) -> None:
    id = gate.submit()
    gate.finish(id)
    assert gate.client.post(f"/v1/jobs/{id}/cancel").json["status"] == "succeeded"


@pytest.mark.parametrize("end", [failed, canceled])
def test_job_that_ended_badly_can_be_retried_under_its_id(gate: Gate, end: Callable[[Gate], str]) -> None:
    id = end(gate)
    answer = gate.client.post(f"/v1/jobs/{id}/retry")
    assert (answer.status_code, answer.json["status"], answer.json["error"]) == (202, "queued", None)
    assert f"retry:{id}" in [due.member for due in gate.parts.jobs.due(limit=10)]


def test_other_jobs_cannot_be_retried(gate: Gate) -> None:
    queued, done = gate.submit(), gate.submit()
    gate.finish(done)
    for id in (queued, done):
        answer = gate.client.post(f"/v1/jobs/{id}/retry")
        assert (answer.status_code, answer.json["code"]) == (409, "already_terminal")


def test_deleted_job_is_410_everywhere(gate: Gate) -> None:
    id = gate.submit()
    assert gate.client.delete(f"/v1/jobs/{id}").status_code == 204
    calls = [
        ("get", ""),
        ("get", "/result"),
        ("get", "/events"),
        ("post", "/cancel"),
        ("post", "/retry"),
        ("delete", ""),
    ]
    for method, path in calls:
        answer = getattr(gate.client, method)(f"/v1/jobs/{id}{path}")
        assert (answer.status_code, answer.json["code"]) == (410, "result_expired")
    assert gate.client.get("/v1/jobs").json["data"] == []


def test_deleting_a_running_job_flags_it(gate: Gate) -> None:
    id = gate.submit()
    gate.start(id)
    assert gate.client.delete(f"/v1/jobs/{id}").status_code == 204
    assert gate.record(id).cancel_requested


@pytest.mark.parametrize("id", ["job_nothing", "..%2F..", "a b", "x" * 500, "%00"])
def test_unknown_job_is_404(gate: Gate, id: str) -> None:
    answer = get(gate, id)
    assert (answer.status_code, answer.json["code"]) == (404, "not_found")


def test_withdrawn_submission_is_404(gate: Gate) -> None:
    id = gate.submit()
    job = gate.record(id)
    from tasks.message import decode

    gate.parts.jobs.withdraw(decode(job.message).record(job.message, now_ms=1))
    assert get(gate, id).status_code == 404
