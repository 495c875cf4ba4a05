"""Store or broker away at submit: refused within five seconds, and nothing half accepted."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from errors import BrokerUnavailable, ObjectsUnavailable
from tasks.message import decode
from tasks.ticket import Ticket
from tests.gateway.gate import ECHO, Gate, make_gate
from tests.gateway.test_waiting import until
from tests.services.valkey import Valkey, valkey_service

BIG = {"model": "reader", "inputs": {"image": "x" * 100_000}}


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Valkey]:
    """A broker of its own, running."""
    service = valkey_service(tmp_path / "b")
    service.start()
    yield service
    service.stop()


@pytest.fixture
def split(make: Callable[..., Gate], broker: Valkey) -> Gate:
    """A gateway whose broker is not its store."""
    return make(broker=broker.queue_url, submit_deadline_s=1.0)


def refused(call: Callable[[], Any], code: str) -> Any:
    began = time.monotonic()
    answer = call()
    assert time.monotonic() - began < 5
    assert (answer.status_code, answer.json["code"], answer.json["retryable"]) == (503, code, True)
    assert int(answer.headers["Retry-After"]) >= 1
    return answer


def nothing_accepted(gate: Gate) -> bool:
    return gate.client.get("/v1/jobs").json["data"] == [] and list(gate.parts.objects.keys()) == []


@pytest.mark.parametrize("how", ["stop", "pause"])
def test_broker_away_is_503_and_nothing_is_accepted(split: Gate, broker: Valkey, how: str) -> None:
    split.submit()
    split.finish(split.client.get("/v1/jobs").json["data"][0]["id"])
    split.client.delete("/v1/jobs/" + split.client.get("/v1/jobs").json["data"][0]["id"])
    getattr(broker, how)()
    refused(lambda: split.client.post("/v1/jobs", json=BIG), "broker_unavailable")
    assert nothing_accepted(split)
    assert split.store.zcard("penstock:waiting:cpu.reader.2.normal") == 0
    broker.resume() if how == "pause" else broker.start()
    split.submit(BIG)


def test_batch_while_the_broker_is_away_is_refused_one_by_one(split: Gate, broker: Valkey) -> None:
    broker.stop()
    answer = split.client.post("/v1/jobs:batch", json=[ECHO, {"model": "nothing", "inputs": {}}, ECHO])
    codes = [one["error"]["code"] for one in answer.json["data"]]
    assert codes == ["broker_unavailable", "unknown_model", "broker_unavailable"]
    assert nothing_accepted(split)


def test_worker_that_was_faster_than_the_refusal_makes_it_accepted(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a broker that takes the message and never says so
    start = gate.parts.publisher.start

    def lost_answer(tickets: list[Ticket]) -> None:
        sent = [Ticket(ticket.message, ticket.deadline) for ticket in tickets]
        start(sent)
        for ticket, copy in zip(tickets, sent, strict=True):
            copy.wait()
            gate.start(ticket.message.id)
            ticket.settle(BrokerUnavailable("no answer"))

    monkeypatch.setattr(gate.parts.publisher, "start", lost_answer)
    # When a job is submitted, and a worker has it already
    answer = gate.client.post("/v1/jobs", json=ECHO)
    # Then it was accepted
    assert answer.status_code == 202
    assert gate.record(answer.json["id"]).status == "running"


@pytest.mark.parametrize("how", ["stop", "pause"])
def test_store_away_is_503_and_nothing_is_accepted(tmp_path: Path, repository: Path, how: str) -> None:
    valkey = valkey_service(tmp_path / "v")
    valkey.start()
    gate = make_gate(tmp_path, repository, valkey)
    try:
        gate.client.get("/v1/jobs")
        getattr(valkey, how)()
        refused(lambda: gate.client.post("/v1/jobs", json=BIG), "store_unavailable")
        assert list(gate.parts.objects.keys()) == []
        valkey.resume() if how == "pause" else valkey.start()
        until(lambda: bool(gate.parts.submitter.withdrawals._pending) is False)
        assert gate.client.get("/v1/jobs").json["data"] == []
        assert gate.queued("cpu.reader.2.normal") == []
    finally:
        gate.close()
        valkey.stop()


def test_record_that_arrives_after_its_withdrawal_comes_too_late(gate: Gate) -> None:
    # Given a store that hung: the record's making is still on its way when it is taken back
    id = gate.submit()
    late = msgspec.structs.replace(decode(gate.record(id).message), id="job_late")
    record = late.record(late.encode(), now_ms=1)
    assert gate.parts.jobs.withdraw(record) == "withdrawn"
    # When it arrives
    assert gate.parts.jobs.create(record).verdict == "exists"
    # Then there is no job
    assert gate.client.get("/v1/jobs/job_late").status_code == 404
    assert [job["id"] for job in gate.client.get("/v1/jobs").json["data"]] == [id]


@pytest.mark.parametrize("path", ["", "/job_a", "/job_a/result", "?limit=1"])
def test_reading_while_the_store_is_away_is_503(tmp_path: Path, repository: Path, path: str) -> None:
    valkey = valkey_service(tmp_path / "v")
    valkey.start()
    gate = make_gate(tmp_path, repository, valkey)
    valkey.stop()
    try:
        refused(lambda: gate.client.get(f"/v1/jobs{path}"), "store_unavailable")
        assert "penstock_store_up 0.0" in gate.client.get("/metrics").text
        assert gate.client.get("/v1/models").status_code == 200
    finally:
        gate.close()


def test_object_store_away_refuses_what_needs_it_and_nothing_else(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise ObjectsUnavailable("the disk is full", retry_after_s=2)

    for method in ("put", "size", "delete"):
        monkeypatch.setattr(gate.parts.objects, method, away)
    refused(lambda: gate.client.post("/v1/jobs", json=BIG), "objects_unavailable")
    refused(lambda: gate.client.post("/v1/objects", data=b"x"), "objects_unavailable")
    gate.submit(ECHO)
