"""Quotas: exact for jobs in flight, token buckets for rates, nothing at all where none is set."""

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from storage import keys
from storage.quotas import Quota, Quotas
from tests.gateway.gate import ECHO, Gate
from tests.gateway.test_access import bearer


def limit(gate: Gate, **limits: Any) -> None:
    Quotas(gate.store).set("local", Quota(**limits))
    gate.parts.toll.look()


def test_jobs_beyond_the_limit_are_refused_with_what_is_and_what_may_be(gate: Gate) -> None:
    limit(gate, max_in_flight=2)
    first = gate.submit()
    gate.start(gate.submit())
    answer = gate.client.post("/v1/jobs", json=ECHO)
    assert (answer.status_code, answer.json["code"]) == (429, "quota_exceeded")
    assert answer.json["detail"] == "tenant 'local' has 2 jobs queued or running; its limit is 2"
    assert int(answer.headers["Retry-After"]) >= 1
    assert gate.parts.jobs.in_flight("local") == 2
    gate.parts.jobs.cancel(gate.record(first))
    gate.submit()


def test_limit_holds_between_requests_that_race(gate: Gate) -> None:
    limit(gate, max_in_flight=5)
    statuses: list[int] = []

    def submit() -> None:
        statuses.append(gate.app.test_client().post("/v1/jobs", json=ECHO).status_code)

    threads = [threading.Thread(target=submit) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [202] * 5 + [429] * 15
    assert gate.parts.jobs.in_flight("local") == 5


def test_batch_takes_what_fits_and_refuses_the_rest_each_by_itself(gate: Gate) -> None:
    limit(gate, max_in_flight=3)
    outcomes = gate.client.post("/v1/jobs:batch", json=[ECHO] * 5).json["data"]
    assert ["job" in one for one in outcomes] == [True] * 3 + [False] * 2
    assert {one["error"]["code"] for one in outcomes[3:]} == {"quota_exceeded"}


def test_same_idempotency_key_is_answered_even_when_nothing_more_may_come(gate: Gate) -> None:
    limit(gate, max_in_flight=1)
    id = gate.submit(Idempotency_Key="k")
    assert gate.submit(Idempotency_Key="k") == id


def test_retry_counts_as_a_job_in_flight(gate: Gate) -> None:
    id = gate.submit()
    gate.parts.jobs.cancel(gate.record(id))
    limit(gate, max_in_flight=1)
    gate.submit()
    answer = gate.client.post(f"/v1/jobs/{id}/retry")
    assert (answer.status_code, answer.json["code"]) == (429, "quota_exceeded")
    assert gate.record(id).status == "canceled"


def test_requests_beyond_the_rate_are_told_when_to_come_again(gate: Gate) -> None:
    limit(gate, requests_per_s=2)
    answers = [gate.client.get("/v1/jobs") for _ in range(4)]
    assert [answer.status_code for answer in answers[:2]] == [200, 200]
    refused = answers[-1]
    assert (refused.status_code, refused.json["code"]) == (429, "quota_exceeded")
    assert refused.json["detail"] == "tenant 'local' may send 2 requests a second"
    assert 0 < refused.json["retry_after_s"] <= 0.5
    # As if that time had passed.
    gate.store.hincrbyfloat(keys.bucket("local"), "at", -500)
    assert gate.client.get("/v1/jobs").status_code == 200


def test_rate_is_one_for_all_processes(gate: Gate, make: Callable[..., Gate]) -> None:
    other = make()
    limit(gate, requests_per_s=2)
    other.parts.toll.look()
    statuses = [one.client.get("/v1/jobs").status_code for one in (gate, other, gate, other)]
    assert statuses == [200, 200, 429, 429]


def test_body_larger_than_a_second_of_bytes_is_taken_and_waited_for_afterwards(gate: Gate) -> None:
    limit(gate, bytes_per_s=1000)
    body = json.dumps(ECHO).encode() + b" " * 2500
    assert gate.client.post("/v1/jobs", data=body, content_type="application/json").status_code == 202
    refused = gate.client.get("/v1/jobs")
    assert (refused.status_code, refused.json["code"]) == (429, "quota_exceeded")
    assert "1000 bytes a second" in refused.json["detail"]
    assert 1 < refused.json["retry_after_s"] < 3
    gate.store.hincrbyfloat(keys.bucket("local"), "at", -3000)
    assert gate.client.get("/v1/jobs").status_code == 200


def test_probes_and_another_tenant_are_not_limited(make: Callable[..., Gate]) -> None:
    gate = make(host="0.0.0.0")
    Quotas(gate.store).set("acme", Quota(requests_per_s=1))
    gate.parts.toll.look()
    acme, beta = (bearer(gate.parts.access.create(tenant)) for tenant in ("acme", "beta"))
    assert [gate.client.get("/v1/jobs", headers=acme).status_code for _ in range(2)] == [200, 429]
    assert {gate.client.get("/v1/jobs", headers=beta).status_code for _ in range(5)} == {200}
    assert {gate.client.get("/livez").status_code for _ in range(5)} == {200}


def test_without_a_quota_nothing_is_asked_of_the_store(gate: Gate) -> None:
    gate.parts.toll.look()
    gate.client.get("/v1/jobs")
    assert gate.store.exists(keys.bucket("local")) == 0


def test_quota_that_is_taken_away_limits_nothing(gate: Gate) -> None:
    limit(gate, max_in_flight=1, requests_per_s=1)
    limit(gate)
    assert Quotas(gate.store).all() == {}
    for _ in range(5):
        gate.submit()


@pytest.mark.parametrize("tenant", ["", "Acme", "a b", "../x"])
def test_tenant_that_cannot_be_one_has_no_quota(gate: Gate, tenant: str) -> None:
    from errors import InvalidInput

    with pytest.raises(InvalidInput, match="tenant's name"):
        Quotas(gate.store).set(tenant, Quota(max_in_flight=1))


@pytest.mark.parametrize("claimed", [str(10**12), "9" * 19, "9" * 400])
def test_length_that_is_only_claimed_does_not_lock_a_tenant_out(gate: Gate, claimed: str) -> None:
    limit(gate, bytes_per_s=1000)
    assert gate.client.get("/v1/jobs", environ_overrides={"CONTENT_LENGTH": claimed}).status_code == 200
    # A GET has no body to be paid for.
    assert gate.client.get("/v1/jobs").status_code == 200
    huge = gate.client.post("/v1/jobs", environ_overrides={"CONTENT_LENGTH": claimed}, content_type="application/json")
    assert (huge.status_code, huge.json["code"]) == (413, "payload_too_large")
    refused = gate.client.get("/v1/jobs")
    assert refused.status_code == 429
    assert refused.json["retry_after_s"] <= 61
    assert 0 < gate.store.pttl(keys.bucket("local")) <= 62_001


def test_debt_from_before_the_rate_was_lowered_is_a_minutes_at_most(gate: Gate) -> None:
    limit(gate, bytes_per_s=1000)
    gate.store.hset(keys.bucket("local"), mapping={"at": gate.parts.jobs.now_ms(), "requests": 1, "bytes": -(10**15)})
    refused = gate.client.get("/v1/jobs")
    assert (refused.status_code, refused.json["retry_after_s"] <= 61) == (429, True)


def test_request_is_charged_no_more_than_its_route_would_read(gate: Gate) -> None:
    limit(gate, bytes_per_s=10_000)
    claim = {"CONTENT_LENGTH": str(10**9)}
    answer = gate.client.post("/v1/objects:presign", environ_overrides=claim, content_type="application/json")
    assert answer.status_code == 413
    left = float(gate.store.hget(keys.bucket("local"), "bytes"))
    assert 10_000 - 1024 <= left <= 10_000
