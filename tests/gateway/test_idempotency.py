"""The same Idempotency-Key and the same body are one job, whoever races whom."""

import io
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from storage.job import Status
from tests.gateway.gate import ECHO, Gate, X

KEY = {"Idempotency-Key": "order-17"}


def test_same_key_and_body_are_the_same_job_in_whatever_state(gate: Gate) -> None:
    id = gate.submit(ECHO, **KEY)
    again = gate.client.post("/v1/jobs", json=ECHO, headers=KEY)
    assert (again.status_code, again.json["id"], again.headers["Idempotency-Replayed"]) == (202, id, "true")
    gate.finish(id)
    done = gate.client.post("/v1/jobs", json=ECHO, headers=KEY)
    assert (done.status_code, done.json["id"], done.json["status"]) == (200, id, "succeeded")
    assert len(gate.queued()) == 1


def test_body_counts_by_its_meaning(gate: Gate) -> None:
    id = gate.submit(ECHO, **KEY)
    body = b'{ "priority": "normal", "inputs": { "x": [1.0, 2.0, 3.0, 4.0] },\n "model": "echo" }'
    again = gate.client.post("/v1/jobs", data=body, content_type="application/json", headers=KEY)
    assert again.json["id"] == id


def test_same_key_with_another_body_is_422(gate: Gate) -> None:
    gate.submit(ECHO, **KEY)
    for other in ({"inputs": {"x": X[::-1]}}, {"priority": "low"}, {"metadata": {"a": 1}}):
        answer = gate.client.post("/v1/jobs", json=ECHO | other, headers=KEY)
        assert (answer.status_code, answer.json["code"]) == (422, "idempotency_mismatch")
    assert len(gate.queued()) == 1


def test_key_of_another_tenant_is_another_key(gate: Gate) -> None:
    id = gate.submit(ECHO, **KEY)
    bearer = "Bearer " + gate.parts.access.create("acme")
    assert gate.submit(ECHO | {"priority": "low"}, Authorization=bearer, **KEY) != id


def test_sixteen_racing_threads_make_one_job(gate: Gate) -> None:
    start = threading.Barrier(16)
    big = {"model": "reader", "inputs": {"image": "x" * 100_000}}

    def race(_: int) -> str:
        start.wait()
        return gate.submit(big, **KEY)

    with ThreadPoolExecutor(16) as pool:
        ids = set(pool.map(race, range(16)))
    assert len(ids) == 1
    assert len(gate.queued("cpu.reader.2.normal")) == 1
    assert list(gate.parts.objects.keys()) == [f"local/jobs/{ids.pop()}/in/0"]


def test_nobody_is_told_of_a_job_before_the_broker_has_it(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a first request that is between store and broker
    entered, go_on = threading.Event(), threading.Event()
    publish = gate.parts.publisher.start

    def slowly(tickets: Any) -> None:
        entered.set()
        go_on.wait(10)
        publish(tickets)

    monkeypatch.setattr(gate.parts.publisher, "start", slowly)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(gate.submit, ECHO, **KEY)
        entered.wait(10)
        # When a second one comes with the same key
        second = pool.submit(gate.submit, ECHO, **KEY)
        # Then it is answered with the first one's answer, not before
        assert not second.done()
        go_on.set()
        assert first.result(10) == second.result(10)


def test_message_of_a_request_that_died_is_published_by_the_next(
    make: Callable[..., Gate], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a record whose maker died before it came to publish
    gate = make(submit_deadline_s=1.0)

    def die(*args: Any, **options: Any) -> None:
        raise SystemExit

    monkeypatch.setattr(gate.parts.publisher, "start", lambda tickets: None)
    monkeypatch.setattr(gate.parts.jobs, "withdraw", die)
    with pytest.raises(SystemExit):
        gate.client.post("/v1/jobs", json=ECHO, headers=KEY)
    monkeypatch.undo()
    assert gate.queued() == []
    # When the client asks again
    id = gate.submit(ECHO, **KEY)
    # Then the message is there
    assert [message["id"] for message in gate.queued()] == [id]


def test_forms_are_compared_by_their_files_content(gate: Gate) -> None:
    def submit(content: bytes) -> Any:
        data = {"model": "reader", "image": (io.BytesIO(content), "a.png")}
        return gate.client.post("/v1/jobs", data=data, headers=KEY)

    first = submit(b"x" * 100_000)
    assert submit(b"x" * 100_000).json["id"] == first.json["id"]
    assert submit(b"y" * 100_000).json["code"] == "idempotency_mismatch"
    assert len(list(gate.parts.objects.keys())) == 1


def test_batch_under_a_key_is_made_once(gate: Gate) -> None:
    batch = [ECHO, {"model": "echo", "inputs": {}}, ECHO | {"priority": "low"}]
    first, second = (gate.client.post("/v1/jobs:batch", json=batch, headers=KEY).json["data"] for _ in range(2))
    assert [one.get("job", {}).get("id") for one in first] == [one.get("job", {}).get("id") for one in second]
    assert len(gate.queued()) + len(gate.queued("cpu.echo.1.low")) == 2


def test_endless_key_is_refused(gate: Gate) -> None:
    answer = gate.client.post("/v1/jobs", json=ECHO, headers={"Idempotency-Key": "k" * 300})
    assert answer.status_code == 422


def test_replayed_request_may_wait_for_the_job(gate: Gate) -> None:
    id = gate.submit(ECHO, **KEY)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(gate.client.post, "/v1/jobs", json=ECHO, headers=KEY | {"Prefer": "wait=20"})
        gate.finish(id)
        assert answer.result(10).status_code == 200
    assert json.loads(answer.result().data)["status"] == Status.SUCCEEDED
