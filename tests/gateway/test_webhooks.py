"""Webhook endpoints by REST: made, shown, changed, rotated, removed; and what became of a job's webhooks."""

from collections.abc import Callable
from typing import Any

import pytest

from storage import keys
from storage.deliveries import Attempt, Deliveries, Delivery, Entry, Planned
from storage.webhooks import MOST, Endpoints
from tests.gateway.gate import ECHO, Gate
from tests.gateway.test_access import bearer

HOOK = {"url": "https://erp.example/hook"}


def endpoint(gate: Gate, **more: object) -> Any:
    answer = gate.client.post("/v1/webhooks", json=HOOK | more)
    assert answer.status_code == 201, answer.text
    return answer.json


def test_secret_is_shown_once_and_rotated_with_an_overlap(gate: Gate) -> None:
    made = endpoint(gate, description="the ERP")
    assert made["secret"].startswith("whsec_")
    path = f"/v1/webhooks/{made['id']}"
    shown = gate.client.get(path)
    assert "secret" not in shown.json
    assert made["secret"] not in shown.text + gate.client.get("/v1/webhooks").text
    rotated = gate.client.post(path + "/rotate").json
    assert rotated["secret"] != made["secret"]
    assert rotated["old_secret_until"] is not None
    endpoints = Endpoints(gate.store)
    now = endpoints.now_ms()
    assert endpoints.get("local", made["id"]).signing(now) == (rotated["secret"], made["secret"])
    assert endpoints.get("local", made["id"]).signing(now + 25 * 3600_000) == (rotated["secret"],)
    last = gate.client.post(path + "/rotate", json={"overlap_s": 0}).json
    assert endpoints.get("local", made["id"]).signing(now) == (last["secret"],)


def test_endpoint_is_changed_disabled_enabled_and_removed(gate: Gate) -> None:
    path = f"/v1/webhooks/{endpoint(gate)['id']}"
    changed = gate.client.patch(path, json={"events": ["job.started"], "description": "new"}).json
    assert (changed["events"], changed["description"], changed["url"]) == (["job.started"], "new", HOOK["url"])
    assert gate.client.post(path + "/disable").json["disabled_reason"] == "asked"
    assert gate.client.post(path + "/test").status_code == 422
    assert gate.client.post(path + "/enable").json["enabled"] is True
    assert gate.client.delete(path).status_code == 204
    assert gate.client.get(path).status_code == 404
    assert gate.client.get("/v1/webhooks").json["data"] == []


def test_tenants_own_secret_is_rotated_under_the_id_default(gate: Gate) -> None:
    first = gate.client.post("/v1/webhooks/default/rotate").json
    assert first["secret"].startswith("whsec_")
    assert first["url"] is None
    assert gate.client.get("/v1/webhooks").json["data"] == []
    for method in ("get", "patch", "delete"):
        assert getattr(gate.client, method)("/v1/webhooks/default", json={}).status_code == 404


@pytest.mark.parametrize(
    ("wish", "pointer"),
    [
        ({}, "#/url"),
        ({"url": "http://127.0.0.1/"}, "#/url"),
        ({"url": "https://user:pw@erp.example/"}, "#/url"),
        ({"url": "https://erp.example/", "events": []}, "#/events"),
        ({"url": "https://erp.example/", "events": ["scoring.ended"]}, "#/events/0"),
        ({"url": "https://erp.example/", "secret": "mine"}, "#/secret"),
    ],
)
def test_what_is_wrong_with_an_endpoint_is_told(gate: Gate, wish: dict[str, object], pointer: str) -> None:
    answer = gate.client.post("/v1/webhooks", json=wish)
    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, pointer)


def test_too_many_endpoints_are_refused(gate: Gate) -> None:
    for _ in range(MOST):
        endpoint(gate)
    answer = gate.client.post("/v1/webhooks", json=HOOK)
    assert (answer.status_code, answer.json["code"]) == (422, "invalid_input")
    # The tenant's own secret has its place beside them.
    assert gate.client.post("/v1/webhooks/default/rotate").status_code == 200


def test_key_that_may_not_read_jobs_makes_no_endpoint(make: Callable[..., Gate]) -> None:
    gate = make(host="0.0.0.0")
    headers = bearer(gate.parts.access.create("acme", scopes=("submit",)))
    answer = gate.client.post("/v1/webhooks", json=HOOK, headers=headers)
    assert (answer.status_code, answer.json["code"]) == (403, "forbidden")


def expanded(gate: Gate, job: str) -> Delivery:
    deliveries = Deliveries(gate.store)
    (entry,) = deliveries.outbox(limit=9)
    deliveries.expand(entry, [Planned("msg_1", "local/@erp.example", entry.event, "", HOOK["url"])], b"{}")
    return deliveries.of(job)[0]


def test_deliveries_are_listed_with_their_attempts_and_sent_again(gate: Gate) -> None:
    job = gate.submit(ECHO | {"webhook": HOOK})
    path = f"/v1/jobs/{job}"
    assert gate.client.get(path).json["webhook_status"] == "pending"
    gate.finish(job)
    assert gate.client.get(path + "/deliveries").json["data"] == []
    expanded(gate, job)
    deliveries = Deliveries(gate.store)
    taken = deliveries.take("local/@erp.example")
    assert taken is not None
    attempt = Attempt(
        at_ms=1_700_000_000_000, status=500, latency_ms=2.5, answer="oh", error="answered 500", ended=True
    )
    deliveries.attempted(taken, attempt, "failed")
    (listed,) = gate.client.get(path + "/deliveries").json["data"]
    assert (listed["id"], listed["event"], listed["status"], listed["webhook"]) == (
        "msg_1", "job.completed", "exhausted", None,
    )  # fmt: skip
    assert listed["attempts"] == [
        {"at": "2023-11-14T22:13:20.000Z", "status": 500, "latency_ms": 2.5, "answer": "oh", "error": "answered 500"}
    ]
    assert gate.client.get(path).json["webhook_status"] == "failed"
    again = gate.client.post(path + "/redeliver")
    assert (again.status_code, again.json["data"][0]["status"]) == (202, "pending")
    assert gate.client.get(path).json["webhook_status"] == "pending"
    taken = deliveries.take("local/@erp.example")
    assert taken is not None
    assert taken.delivery.id == "msg_1"
    deliveries.attempted(taken, attempt, "delivered")
    assert gate.client.get(path).json["webhook_status"] == "delivered"
    metrics = gate.client.get("/metrics").text
    assert 'penstock_webhooks_total{outcome="delivered"} 1.0' in metrics
    assert 'penstock_webhook_attempts_total{outcome="bad"} 1.0' in metrics
    assert "penstock_webhooks_pending 0.0" in metrics


def test_redelivery_of_what_is_not_there_is_404(gate: Gate) -> None:
    job = gate.submit(ECHO | {"webhook": HOOK})
    answer = gate.client.post(f"/v1/jobs/{job}/redeliver", json={"delivery": "msg_9"})
    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (404, "#/delivery")


def test_trial_is_put_into_the_outbox(gate: Gate) -> None:
    id = endpoint(gate)["id"]
    assert gate.client.post(f"/v1/webhooks/{id}/test").status_code == 202
    (entry,) = Deliveries(gate.store).outbox(limit=9)
    assert (entry.event, entry.job) == ("ping", f"local/{id}")
    assert isinstance(entry, Entry)


def test_deleting_a_job_takes_its_outputs_out_of_what_is_on_its_way(gate: Gate) -> None:
    job = gate.submit(ECHO | {"webhook": HOOK})
    gate.finish(job, {"y": "personal"})
    deliveries = Deliveries(gate.store)
    (entry,) = deliveries.outbox(limit=9)
    body = b'{"type":"job.completed","data":{"id":"1","outputs":{"y":"personal"},"error":null}}'
    deliveries.expand(entry, [Planned("msg_1", "local/@erp.example", entry.event, "", HOOK["url"])], body)
    assert gate.client.delete(f"/v1/jobs/{job}").status_code == 204
    (delivery,) = deliveries.of(job)
    assert (delivery.state, b"personal" in delivery.body, b'"id":"1"' in delivery.body) == ("pending", False, True)


def test_redelivery_where_nobody_was_told_or_no_more_is_known_is_404(gate: Gate) -> None:
    untold = gate.client.post(f"/v1/jobs/{gate.submit(ECHO)}/redeliver")
    job = gate.submit(ECHO | {"webhook": HOOK})
    gate.finish(job)
    gate.store.delete(keys.delivery(expanded(gate, job).id))
    gone = gate.client.post(f"/v1/jobs/{job}/redeliver")
    assert (untold.status_code, gone.status_code) == (404, 404)
    assert "has no deliveries" in gone.json["detail"]
