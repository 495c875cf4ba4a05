"""Bad input: each kind has its status, its code and its place, and nothing becomes a 500."""

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.gateway.gate import ECHO, Gate, X

SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)


def post(gate: Gate, body: bytes, content_type: str = "application/json", **environ: object) -> Any:
    return gate.client.post("/v1/jobs", data=body, content_type=content_type, environ_overrides=environ)


def pointers(answer: Any) -> list[str]:
    return [fault["pointer"] for fault in answer.json["errors"]]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "byte 0"),
        (b'{"model": "echo"', "byte 16"),
        (b'{"model": echo}', "byte 10"),
        (b'{"model": "echo", "inputs": {"x": [1, NaN]}}', "byte 38"),
        (b'{"model": "echo", "inputs": {}} and more', "byte 33"),
        (b'{"model": "\xff", "inputs": {}}', "UTF-8"),
        (b'{"model": "echo", "inputs": {"x": "\xff"}}', "#/inputs/x"),
        (b'{"model": "\\ud800", "inputs": {}}', "surrogate"),
    ],
)
def test_malformed_json_is_400_with_its_position(gate: Gate, body: bytes, reason: str) -> None:
    answer = post(gate, body)
    assert (answer.status_code, answer.json["code"]) == (400, "malformed_body")
    assert reason in answer.json["detail"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"model": "echo", "inputs": {"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
        b'{"model": "echo", "inputs": {}, "parameters": ' + b'{"a":' * 90_000 + b"1" + b"}" * 90_000 + b"}",
    ],
)
def test_deep_nesting_is_refused(gate: Gate, body: bytes) -> None:
    answer = post(gate, body)
    assert (answer.status_code, answer.json["code"]) == (400, "malformed_body")
    assert "nested deeper than 64 levels (from byte" in answer.json["detail"]


def test_nesting_that_a_later_reader_might_choke_on_is_refused(gate: Gate) -> None:
    value: object = 1
    for _ in range(50):
        value = [value]
    answer = gate.client.post("/v1/jobs", json=ECHO | {"parameters": {"a": value}})
    assert (answer.status_code, pointers(answer)) == (422, ["#/parameters"])
    answer = gate.client.post("/v1/jobs", json={"model": "echo", "inputs": {"x": value}})
    assert (answer.status_code, pointers(answer)) == (422, ["#/inputs/x"])


@pytest.mark.parametrize("kind", ["text/plain", "", "application/xml", "application/x-www-form-urlencoded"])
def test_wrong_content_type_is_415(gate: Gate, kind: str) -> None:
    answer = post(gate, json.dumps(ECHO).encode(), kind)
    assert (answer.status_code, answer.json["code"]) == (415, "unsupported_media_type")


def test_compressed_body_is_415(gate: Gate) -> None:
    answer = gate.client.post("/v1/jobs", json=ECHO, headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 415


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"nonsense": 1}, "#/nonsense"),
        ({"model": 3}, "#/model"),
        ({"inputs": []}, "#/inputs"),
        ({"priority": "urgent"}, "#/priority"),
        ({"timeout_s": 0}, "#/timeout_s"),
        ({"timeout_s": "5"}, "#/timeout_s"),
        ({"deadline": "tomorrow"}, "#/deadline"),
        ({"deadline": "2100-01-01T00:00:00"}, "#/deadline"),
        ({"deadline": "2020-01-01T00:00:00Z"}, "#/deadline"),
        ({"max_attempts": 1.5}, "#/max_attempts"),
        ({"metadata": {"a": []}}, "#/metadata"),
        ({"metadata": {"a": "x" * 600}}, "#/metadata"),
        ({"metadata": {str(i): "x" * 100 for i in range(200)}}, "#/metadata"),
        ({"parameters": {"text": "x" * 20_000}}, "#/parameters"),
        ({"webhook": {"url": "file:///etc/passwd"}}, "#/webhook/url"),
        ({"webhook": {"url": "http://[oops"}}, "#/webhook/url"),
        ({"webhook": {"url": "https://a.example", "secret": "s"}}, "#/webhook/secret"),
        ({"webhook": {"url": "https://169.254.169.254/latest"}}, "#/webhook/url"),
        ({"webhook": {"url": "https://a.example", "events": ["scoring.completed"]}}, "#/webhook/events/0"),
        ({"webhook": {"url": "https://a.example", "events": []}}, "#/webhook/events"),
        ({"inputs": {}}, "#/inputs/x"),
        ({"inputs": {"x": X, "y": 1}}, "#/inputs/y"),
        ({"inputs": {"x": [[1, 2, 3, "a"]]}}, "#/inputs/x/0/3"),
        ({"inputs": {"x": [[1, 2], [3, 4]]}}, "#/inputs/x/0"),
        ({"inputs": {"x": "x" * 10_000_000}}, "#/inputs/x"),
        ({"inputs": {"x": {"object": "../../etc/passwd"}}}, "#/inputs/x/object"),
        ({"inputs": {"x": {"object": "obj_01ARZ3NDEKTSV4RRFFQ69G5FAV"}}}, "#/inputs/x/object"),
    ],
)
def test_wrong_submission_is_422_with_a_pointer(gate: Gate, change: dict[str, Any], pointer: str) -> None:
    answer = gate.client.post("/v1/jobs", json=ECHO | change)
    assert (answer.status_code, answer.json["code"]) == (422, "invalid_input")
    assert pointer in pointers(answer)
    assert gate.queued() == []


def test_missing_field_is_named(gate: Gate) -> None:
    assert pointers(gate.client.post("/v1/jobs", json={"inputs": {}})) == ["#/model"]


def test_ten_megabyte_string_is_taken_where_a_string_may_stand(gate: Gate) -> None:
    id = gate.submit({"model": "reader", "inputs": {"image": "x" * 10_000_000}})
    key = gate.queued("cpu.reader.2.normal")[0]["inputs"]["image"]["object"]
    assert key == f"local/jobs/{id}/in/0"
    assert gate.parts.objects.size(key) == 10_000_002


def test_announced_size_beyond_the_limit_is_refused_before_a_byte_is_read(make: Callable[..., Gate]) -> None:
    class Untouchable:
        def read(self, size: int = -1) -> bytes:
            raise AssertionError("the body was read")

    environ: dict[str, Any] = {"CONTENT_LENGTH": str(2**30), "wsgi.input": Untouchable()}
    answer = post(make(max_body_bytes=1000), b"", **environ)
    assert (answer.status_code, answer.json["code"]) == (413, "payload_too_large")


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=b"])
def test_chunked_body_is_refused_while_it_streams(make: Callable[..., Gate], kind: str) -> None:
    class Endless:
        taken = 0

        def read(self, size: int) -> bytes:
            self.taken += size
            return b" " * size

    endless, gate = Endless(), make(max_body_bytes=1_000_000)
    answer = post(gate, b"", kind, **{"wsgi.input": endless, "wsgi.input_terminated": True, "CONTENT_LENGTH": ""})
    assert (answer.status_code, answer.json["code"]) == (413, "payload_too_large")
    assert endless.taken < 1_200_000


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs:batch", "/v1/objects"])
def test_truncated_body_is_400_and_leaves_nothing(gate: Gate, path: str) -> None:
    environ = {"CONTENT_LENGTH": "1000", "wsgi.input": io.BytesIO(b'{"model": "echo"')}
    answer = gate.client.post(path, content_type="application/json", environ_overrides=environ)
    assert (answer.status_code, answer.json["code"]) == (400, "malformed_body")
    assert "16 of 1000 bytes" in answer.json["detail"]
    assert list(gate.parts.objects.keys()) == []


def test_absurd_content_length_is_400(gate: Gate) -> None:
    assert post(gate, b"", CONTENT_LENGTH="-5").status_code == 400
    assert post(gate, b"", CONTENT_LENGTH="9" * 400).status_code == 413


@SHARED
@given(body=st.binary(max_size=400))
def test_no_bytes_break_it(gate: Gate, body: bytes) -> None:
    for path in ("/v1/jobs", "/v1/jobs:batch"):
        answer = gate.client.post(path, data=body, content_type="application/json")
        assert 400 <= answer.status_code < 500


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NAMES = ["model", "inputs", "version", "parameters", "priority", "deadline", "timeout_s", "metadata", "webhook"]


@SHARED
@given(change=st.dictionaries(st.sampled_from(NAMES), JSON, max_size=3), x=JSON)
def test_no_json_breaks_it(gate: Gate, change: dict[str, Any], x: object) -> None:
    body = json.dumps(ECHO | {"inputs": {"x": x}} | change).encode()
    answer = post(gate, body)
    assert answer.status_code in (202, 400, 404, 422)


@SHARED
@given(body=st.binary(max_size=300), boundary=st.sampled_from(["b", "", "é", "x" * 80]))
def test_no_form_breaks_it(gate: Gate, body: bytes, boundary: str) -> None:
    framed = b"--b\r\nContent-Disposition: form-data; name=model\r\n\r\n" + body + b"\r\n--b--\r\n"
    for data in (body, framed):
        answer = post(gate, data, f'multipart/form-data; boundary="{boundary}"')
        assert 400 <= answer.status_code < 500
