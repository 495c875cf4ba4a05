"""Many submissions in one body: an outcome for each, in order."""

import json

import pytest

from tests.gateway.gate import ECHO, Gate

MIXED = [
    ECHO,
    {"model": "nothing", "inputs": {}},
    17,
    {"model": "echo", "inputs": {"x": "no"}},
    ECHO | {"priority": "low"},
]


def test_one_bad_submission_never_refuses_the_rest(gate: Gate) -> None:
    answer = gate.client.post("/v1/jobs:batch", json=MIXED)
    assert answer.status_code == 200
    data = answer.json["data"]
    assert [one.get("job", {}).get("status") for one in data] == ["queued", None, None, None, "queued"]
    codes = [one["error"]["code"] for one in data if "error" in one]
    assert codes == ["unknown_model", "invalid_input", "invalid_input"]
    assert data[3]["error"]["errors"][0]["pointer"] == "#/inputs/x"
    assert data[3]["error"]["request_id"] == answer.headers["X-Request-Id"]
    assert [data[0]["job"]["id"]] == [message["id"] for message in gate.queued()]
    assert [data[4]["job"]["id"]] == [message["id"] for message in gate.queued("cpu.echo.1.low")]


@pytest.mark.parametrize("kind", ["application/x-ndjson", "application/jsonl"])
def test_lines_of_json_are_a_batch_too(gate: Gate, kind: str) -> None:
    body = b"\n".join([*(json.dumps(one).encode() for one in MIXED), b"{broken", b""])
    data = gate.client.post("/v1/jobs:batch", data=body, content_type=kind).json["data"]
    assert [one["error"]["code"] if "error" in one else "fine" for one in data] == [
        "fine", "unknown_model", "invalid_input", "invalid_input", "fine", "malformed_body",
    ]  # fmt: skip


def test_a_thousand_are_accepted_and_one_more_is_not(gate: Gate) -> None:
    answer = gate.client.post("/v1/jobs:batch", json=[ECHO] * 1000)
    assert [one["job"]["status"] for one in answer.json["data"]] == ["queued"] * 1000
    assert len({one["job"]["id"] for one in answer.json["data"]}) == 1000
    assert len(gate.queued()) == 1000
    assert gate.client.post("/v1/jobs:batch", json=[ECHO] * 1001).status_code == 422
    assert len(gate.queued()) == 1000


def test_lane_that_fills_up_takes_the_first_ones(gate: Gate) -> None:
    answer = gate.client.post("/v1/jobs:batch", json=[{"model": "narrow", "inputs": {"x": [1]}}] * 4)
    codes = [one["error"]["code"] if "error" in one else "fine" for one in answer.json["data"]]
    assert codes == ["fine", "fine", "queue_full", "queue_full"]
    assert len(gate.queued("cpu.narrow.1.normal")) == 2


@pytest.mark.parametrize(
    ("body", "status"), [(b"[]", 422), (b"", 400), (b"{}", 422), (b"[1, 2", 400), (b'{"model": "echo"}', 422)]
)
def test_body_that_is_no_batch_is_refused(gate: Gate, body: bytes, status: int) -> None:
    answer = gate.client.post("/v1/jobs:batch", data=body, content_type="application/json")
    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"
