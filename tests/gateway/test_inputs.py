"""Large inputs go to the object store, and references lead to the caller's own uploads."""

import json
from typing import Any

import pytest

from storage.job import Status
from storage.jobs import SWEEP_MS, Due
from tests.gateway.gate import Gate

QUEUE = "cpu.reader.2.normal"


def read(value: object) -> dict[str, Any]:
    return {"model": "reader", "inputs": {"image": value}}


def test_input_over_64_kib_is_moved_and_a_smaller_one_is_not(gate: Gate) -> None:
    small, big = "x" * (64 * 1024 - 2), "x" * (64 * 1024 - 1)
    gate.submit(read(small))
    id = gate.submit(read(big))
    first, second = (message["inputs"]["image"] for message in gate.queued(QUEUE))
    assert first == small
    assert second == {"object": f"local/jobs/{id}/in/0", "as": "json"}
    assert json.loads(gate.parts.objects.read(second["object"])) == big


def test_reference_leads_to_an_upload(gate: Gate) -> None:
    id = gate.client.post("/v1/objects", data=b"picture").json["id"]
    gate.submit(read({"object": id}))
    assert gate.queued(QUEUE)[0]["inputs"] == {"image": {"object": f"local/objects/{id}", "as": "bytes"}}


def test_reference_to_another_tenants_upload_is_refused_like_one_to_nothing(gate: Gate) -> None:
    key = gate.parts.access.create("acme")
    id = gate.client.post("/v1/objects", data=b"theirs", headers={"Authorization": f"Bearer {key}"}).json["id"]
    answer = gate.client.post("/v1/jobs", json=read({"object": id}))
    assert answer.status_code == 422
    assert answer.json["errors"] == [{"pointer": "#/inputs/image/object", "detail": "names no object of yours"}]


@pytest.mark.parametrize("key", ["acme/objects/obj_01ARZ3NDEKTSV4RRFFQ69G5FAV", "/etc/passwd", "obj_1", ""])
def test_storage_keys_are_no_references(gate: Gate, key: str) -> None:
    assert gate.client.post("/v1/jobs", json=read({"object": key})).status_code == 422


def test_refused_job_leaves_no_moved_input(gate: Gate) -> None:
    values = {"model": "pair", "inputs": {"text": "x" * 100_000, "weight": {"object": "obj_1"}}}
    assert gate.client.post("/v1/jobs", json=values).status_code == 422
    big = {"model": "narrow", "inputs": {"x": [0.25] * 50_000}}
    gate.submit(big)
    gate.submit(big)
    kept = set(gate.parts.objects.keys())
    assert gate.client.post("/v1/jobs", json=big).status_code == 429
    assert set(gate.parts.objects.keys()) == kept


def test_deleting_a_job_erases_its_inputs_and_outputs(gate: Gate) -> None:
    id = gate.submit(read("x" * 100_000))
    gate.parts.objects.put(f"local/jobs/{id}/out/1", [b"{}"])
    gate.finish(id, outputs_key=f"local/jobs/{id}/out/1", status=Status.SUCCEEDED)
    assert gate.client.delete(f"/v1/jobs/{id}").status_code == 204
    assert list(gate.parts.objects.keys()) == []
    answer = gate.client.get(f"/v1/jobs/{id}")
    assert (answer.status_code, answer.json["code"]) == (410, "result_expired")


def test_moved_input_is_announced_before_it_is_stored_for_a_crash_may_come_between(gate: Gate) -> None:
    id = gate.submit(read("x" * 70_000))
    due = [one.member for one in due_within_the_hour(gate)]
    assert due == [f"inputs:local/jobs/{id}/"]


def due_within_the_hour(gate: Gate) -> list[Due]:
    now_ms = gate.parts.jobs.now_ms
    gate.parts.jobs.now_ms = lambda: now_ms() + SWEEP_MS
    return gate.parts.jobs.due(limit=10)
