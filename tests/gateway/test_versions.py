"""What an operator does with a model's versions over HTTP."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.gateway.gate import Gate


@pytest.fixture
def two(gate: Gate) -> Gate:
    """A gateway whose model `reader` is ready in versions 1 and 2."""
    gate.serve("reader", version="1")
    gate.serve("reader", version="2")
    return gate


def ask(gate: Gate, method: str, path: str, body: object = None, *, status: int = 200, key: str = "") -> Any:
    answer = gate.client.open(
        f"/v1/models/reader{path}", method=method, json=body, headers=key and {"Authorization": f"Bearer {key}"}
    )
    assert answer.status_code == status, answer.text
    return answer.json


def default(gate: Gate) -> str:
    id = gate.submit({"model": "reader", "inputs": {"image": "x"}})
    return str(gate.client.get(f"/v1/jobs/{id}").json["version"])


def test_promotion_and_rollback_move_the_jobs_that_ask_for_no_version(two: Gate) -> None:
    assert default(two) == "2"
    model = ask(two, "POST", "/promote", {"version": "1"})
    assert (model["version"], model["labels"], model["previous"]) == ("1", {"stable": "1"}, "2")
    assert default(two) == "1"
    assert ask(two, "POST", "/rollback")["labels"] == {"stable": "2"}
    assert default(two) == "2"


def test_versions_are_shown_with_state_labels_and_share(two: Gate) -> None:
    ask(two, "PUT", "/labels/canary", {"version": 1})
    model = ask(two, "PUT", "/traffic", {"canary": 1, "2": 3})
    assert model["traffic"] == {"1": 1, "2": 3}
    assert [
        (one["version"], one["state"], one["labels"], one["share"]) for one in model["version_states"]
    ] == [("1", "ready", ["canary"], 0.25), ("2", "ready", [], 0.75)]  # fmt: skip
    assert ask(two, "PUT", "/traffic", {})["traffic"] == {}


def test_label_can_be_asked_for_moved_and_taken_away(two: Gate) -> None:
    ask(two, "PUT", "/labels/canary", {"version": "1"})
    id = two.submit({"model": "reader", "version": "canary", "inputs": {"image": "x"}})
    assert two.client.get(f"/v1/jobs/{id}").json["version"] == "1"
    ask(two, "PUT", "/labels/canary", {"version": "2"})
    ask(two, "DELETE", "/labels/canary")
    assert ask(two, "DELETE", "/labels/canary", status=404)["code"] == "not_found"
    refused = two.client.post("/v1/jobs", json={"model": "reader", "version": "canary", "inputs": {"image": "x"}})
    assert refused.status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("PUT", "/labels/canary", {"version": "1"}), ("PUT", "/traffic", {"1": 5}), ("POST", "/promote", {"version": 1})],
)
@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("", "no worker serves version 1 of model 'reader'"),
        ("loading", "is loading: try again when it is ready"),
        ("failed", "could not be loaded: no such file"),
    ],
)
def test_nothing_points_at_a_version_that_is_not_ready(
    gate: Gate, method: str, path: str, body: object, state: Any, said: str
) -> None:
    if state:
        gate.serve("reader", state, version="1", reason="no such file")
    problem = ask(gate, method, path, body, status=409)
    assert problem["code"] == "not_loaded"
    assert said in problem["detail"]
    assert ask(gate, "GET", "")["labels"] == {}


def test_version_that_does_not_exist_is_unknown(two: Gate) -> None:
    for method, path, body in (
        ("POST", "/versions/9/load", None), ("POST", "/versions/9/unload", None), ("PUT", "/traffic", {"9": 1}),
        ("PUT", "/labels/canary", {"version": "9"}), ("POST", "/promote", {"version": "9"}),
    ):  # fmt: skip
        assert ask(two, method, path, body, status=404)["code"] == "unknown_model"


def test_unloaded_version_takes_no_job_and_a_loaded_one_does(two: Gate) -> None:
    assert ask(two, "POST", "/versions/2/unload", status=202)["version"] == "2"
    assert default(two) == "1"
    refused = two.client.post("/v1/jobs", json={"model": "reader", "version": "2", "inputs": {"image": "x"}})
    assert (refused.status_code, refused.json["code"]) == (409, "not_loaded")
    ask(two, "POST", "/versions/2/load", status=202)
    assert default(two) == "2"


def test_version_that_is_pointed_at_is_not_unloaded(two: Gate) -> None:
    ask(two, "POST", "/promote", {"version": "2"})
    problem = ask(two, "POST", "/versions/2/unload", status=409)
    assert (problem["code"], "label 'stable' points at version 2" in problem["detail"]) == ("version_conflict", True)


def test_rollback_needs_a_promotion_and_a_version_that_is_still_there(two: Gate) -> None:
    assert ask(two, "POST", "/rollback", status=409)["code"] == "version_conflict"
    ask(two, "POST", "/promote", {"version": "1"})
    two.workers.leave("w-reader-2")
    assert ask(two, "POST", "/rollback", status=409)["code"] == "not_loaded"


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("/traffic", {"1": -1}, "#/1"),
        ("/traffic", {"1": "x"}, "#"),
        ("/traffic", {"1": 0}, "#"),
        ("/labels/Bad", {"version": "1"}, "#/label"),
        ("/labels/canary", {}, "#/version"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_place(two: Gate, path: str, body: object, pointer: str) -> None:
    problem = ask(two, "PUT", path, body, status=422)
    assert problem["errors"][0]["pointer"] == pointer


def test_label_cannot_take_the_name_of_a_version(two: Gate) -> None:
    assert ask(two, "PUT", "/labels/1", {"version": "1"}, status=409)["code"] == "version_conflict"


def test_failing_new_version_says_why_beside_the_one_that_serves(gate: Gate) -> None:
    gate.serve("reader", version="1")
    gate.serve("reader", "failed", version="2", reason="its example fails")
    model = ask(gate, "GET", "")
    assert (model["version"], model["state"]) == ("1", "ready")
    assert model["reason"] == "version 2: its example fails"
    assert default(gate) == "1"


def test_only_an_admin_key_changes_models(make: Callable[..., Gate]) -> None:
    gate = make(host="0.0.0.0")
    gate.serve("reader", version="1")
    plain, admin = gate.parts.access.create("acme"), gate.parts.access.create("acme", admin=True)
    assert ask(gate, "POST", "/promote", {"version": "1"}, status=403, key=plain)["code"] == "forbidden"
    assert ask(gate, "POST", "/promote", {"version": "1"}, status=401)["code"] == "unauthenticated"
    assert ask(gate, "POST", "/promote", {"version": "1"}, key=admin)["labels"] == {"stable": "1"}
    assert ask(gate, "GET", "", key=plain)["labels"] == {"stable": "1"}
