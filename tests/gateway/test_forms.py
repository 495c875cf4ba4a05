"""Jobs as forms: every file is the input of its field's name."""

import base64
import io
import json
from typing import Any

from storage.job import Status
from tests.gateway.gate import Gate

QUEUE = "cpu.reader.2.normal"


def submit(gate: Gate, **fields: object) -> Any:
    return gate.client.post("/v1/jobs", data=fields, content_type="multipart/form-data")


def file(content: bytes, name: str = "page.png") -> tuple[io.BytesIO, str]:
    return io.BytesIO(content), name


def test_small_file_travels_in_the_message(gate: Gate) -> None:
    assert submit(gate, model="reader", image=file(b"\x89PNG")).status_code == 202
    assert gate.queued(QUEUE)[0]["inputs"] == {"image": {"b64": base64.b64encode(b"\x89PNG").decode()}}


def test_large_file_goes_to_the_object_store(gate: Gate) -> None:
    content = bytes(range(256)) * 1000
    answer = submit(gate, model="reader", image=file(content))
    (message,) = gate.queued(QUEUE)
    reference = message["inputs"]["image"]
    assert reference == {"object": f"local/jobs/{answer.json['id']}/in/f0", "as": "bytes"}
    assert gate.parts.objects.read(reference["object"]) == content


def test_with_one_input_any_field_name_serves(gate: Gate) -> None:
    assert submit(gate, model="reader", file=file(b"small")).status_code == 202
    assert submit(gate, model="reader", file=file(b"x" * 100_000)).status_code == 202
    assert [list(message["inputs"]) for message in gate.queued(QUEUE)] == [["image"], ["image"]]


def test_fields_of_a_submission_are_read_as_such(gate: Gate) -> None:
    answer = submit(
        gate, model="reader", version="1", image=file(b"a"), priority="low", max_attempts="2", timeout_s="1.5",
        metadata='{"order": "A-17"}', parameters='{"lang": "de"}', webhook="https://erp.example/hook",
    )  # fmt: skip
    assert answer.status_code == 202
    (message,) = gate.queued("cpu.reader.1.low")
    assert (message["max_attempts"], message["timeout_s"]) == (2, 1.5)
    assert (message["metadata"], message["parameters"]) == ({"order": "A-17"}, {"lang": "de"})
    assert message["webhook"]["url"] == "https://erp.example/hook"


def test_text_and_json_fields_are_inputs(gate: Gate) -> None:
    weights = (io.BytesIO(b"[0.5]"), "w.json", "application/json")
    assert submit(gate, model="pair", text="hello", weight=weights).status_code == 202
    assert submit(gate, model="pair", inputs='{"weight": [0.5]}', text="hello").status_code == 202
    assert [message["inputs"] for message in gate.queued("cpu.pair.1.normal")] == [
        {"text": "hello", "weight": [0.5]},
        {"weight": [0.5], "text": "hello"},
    ]


def test_file_for_numbers_is_stored_for_the_worker_to_read(gate: Gate) -> None:
    assert submit(gate, model="echo", x=file(b"\x93NUMPY", "x.npy")).status_code == 202
    reference = gate.queued()[0]["inputs"]["x"]
    assert reference["as"] == "bytes"
    assert gate.parts.objects.read(reference["object"]) == b"\x93NUMPY"


def test_wrong_form_is_refused_and_leaves_nothing_in_the_object_store(gate: Gate) -> None:
    big = b"x" * 100_000
    wrong = {
        "#/model": submit(gate, image=file(big)),
        "#/priority": submit(gate, model="reader", image=file(big), priority="urgent"),
        "#/inputs/nonsense": submit(gate, model="pair", text=file(big), nonsense="1"),
        "#/metadata": submit(gate, model="reader", image=file(big), metadata="[1]"),
        "#/inputs": submit(gate, model="reader", image=file(big), inputs="[1]"),
        "#/inputs/image": submit(gate, model="reader", image=[file(big), file(big)]),
    }
    for pointer, answer in wrong.items():
        assert answer.status_code == 422, answer.text
        assert pointer in [fault["pointer"] for fault in answer.json["errors"]]
    assert submit(gate, model="nothing", image=file(big)).status_code == 404
    assert list(gate.parts.objects.keys()) == []


def test_form_that_ends_before_its_last_boundary_is_400_and_leaves_nothing(gate: Gate) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    answer = gate.client.post("/v1/jobs", data=head + b"x" * 200_000, content_type="multipart/form-data; boundary=b")
    assert (answer.status_code, answer.json["code"]) == (400, "malformed_body")
    assert list(gate.parts.objects.keys()) == []


def test_form_without_a_boundary_is_400(gate: Gate) -> None:
    answer = gate.client.post("/v1/jobs", data=b"abc", content_type="multipart/form-data")
    assert answer.status_code == 400


def test_form_answers_at_once_when_it_may_wait(gate: Gate) -> None:
    data = {"model": "reader", "image": file(b"a")}
    answer = gate.client.post("/v1/jobs", data=data, headers={"Prefer": "wait=0"})
    assert answer.status_code == 202
    assert json.loads(answer.data)["status"] == Status.QUEUED
