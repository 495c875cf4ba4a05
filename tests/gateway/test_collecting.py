"""The ends of many jobs in one request."""

from collections.abc import Callable
from typing import Any

import pytest

from gateway.views import collecting
from gateway.waiting import GATHERED
from storage.job import Status
from tests.gateway.gate import ECHO, Gate
from tests.gateway.test_access import bearer
from tests.gateway.test_waiting import in_background, until, waiters

NEVER = "job_0000"


def collect(gate: Gate, ids: list[str], wait_s: float = 0, headers: dict[str, str] | None = None) -> Any:
    answer = gate.client.post("/v1/jobs:collect", json={"ids": ids, "wait_s": wait_s}, headers=headers)
    assert answer.status_code == 200, answer.text
    return {one["id"]: one for one in answer.json["data"]}


def test_those_that_have_ended_are_told_with_their_outputs(gate: Gate) -> None:
    ids = [gate.submit() for _ in range(4)]
    gate.finish(ids[2], {"y": 7})
    gate.finish(ids[1], status=Status.FAILED, error=b'{"code":"model_error","status":500,"detail":"boom"}')
    found = collect(gate, ids)
    assert {id: one["job"]["status"] for id, one in found.items()} == {ids[2]: "succeeded", ids[1]: "failed"}
    assert found[ids[2]]["job"]["outputs"] == {"y": 7}
    assert found[ids[1]]["job"]["error"]["detail"] == "boom"


def test_the_first_end_is_waited_for_and_brings_others_along(gate: Gate) -> None:
    ids = [gate.submit() for _ in range(3)]
    with in_background(collect, gate, ids, wait_s=30) as answer:
        until(lambda: waiters(gate) == 1)
        gate.finish(ids[0])
        assert ids[0] in answer()
    gate.finish(ids[1])
    assert set(collect(gate, ids[1:], wait_s=30)) == {ids[1]}
    assert (gate.parts.waiting._waiters, waiters(gate)) == ({}, 0)


def test_a_wait_that_is_over_has_an_empty_answer(gate: Gate) -> None:
    assert collect(gate, [gate.submit()], wait_s=0.01) == {}


def test_an_end_before_the_request_is_not_waited_for(gate: Gate) -> None:
    id = gate.submit()
    gate.finish(id)
    assert set(collect(gate, [gate.submit(), id], wait_s=30)) == {id}


def test_what_is_not_there_or_anothers_is_told_as_such(make: Callable[..., Gate]) -> None:
    gate = make(host="0.0.0.0")
    acme, umbra = (bearer(gate.parts.access.create(tenant)) for tenant in ("acme", "umbra"))
    theirs, mine = gate.submit(ECHO, **umbra), gate.submit(ECHO, **acme)
    gate.finish(theirs, {"y": "secret"})
    gate.finish(mine)
    found = collect(gate, [theirs, mine, NEVER, "no id!"], headers=acme)
    assert {id: one["error"]["code"] for id, one in found.items() if "error" in one} == {
        theirs: "not_found", NEVER: "not_found", "no id!": "not_found"
    }  # fmt: skip
    assert found[mine]["job"]["status"] == "succeeded"
    assert "secret" not in str(found)


def test_an_answer_holds_so_much_and_the_next_the_rest(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "MAX_OUTPUTS", 100)
    ids = [gate.submit() for _ in range(3)]
    for id in ids:
        gate.finish(id, {"y": "x" * 80})
    rest = list(ids)
    for left in (2, 1, 0):
        rest = [id for id in rest if id not in collect(gate, rest)]
        assert len(rest) == left


@pytest.mark.parametrize(
    "body", [{"ids": []}, {}, {"ids": ["x"] * 1001}, {"ids": ["x"], "wait_s": 61}, {"ids": ["x" * 129]}, {"ids": [1]}]
)
def test_what_is_no_wish_is_422(gate: Gate, body: Any) -> None:
    assert gate.client.post("/v1/jobs:collect", json=body).status_code == 422


def test_who_waits_for_many_counts_as_several(make: Callable[..., Gate]) -> None:
    gate = make(slots=2)
    ids = [gate.submit() for _ in range(GATHERED * 2)]
    assert collect(gate, ids, wait_s=30) == {}
    assert collect(gate, ids[:2], wait_s=0.01) == {}


def test_hundreds_that_have_ended_are_one_answer(gate: Gate) -> None:
    data = gate.client.post("/v1/jobs:batch", json=[ECHO] * 200).json["data"]
    ids = [one["job"]["id"] for one in data]
    for id in ids:
        gate.finish(id)
    assert set(collect(gate, ids)) == set(ids)
