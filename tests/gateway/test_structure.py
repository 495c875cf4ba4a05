"""JSON held to limits: what is too deep, too many or too large is 4xx with its place, and costs little."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import InvalidInput, MalformedBody
from gateway import structure
from gateway.views.batch import MAX_LINES
from tests.gateway.gate import ECHO, Gate, X

LIMIT = structure.MAX_DEPTH


def level(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(level, value.values()), default=0)
    return 1 + max(map(level, value), default=0) if isinstance(value, list) else 0


NESTED = st.recursive(
    st.sampled_from([1, "", "[", ']}"', "\\", '\\"[[', "{"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "]", '"']), inner, max_size=2),
    max_leaves=20,
)


@given(value=NESTED, wraps=st.integers(min_value=55, max_value=70))
def test_depth_is_that_of_the_value_whatever_its_strings_hold(value: Any, wraps: int) -> None:
    for number in range(wraps):
        value = [value, "]"] if number % 2 else {"a]": value}
    body = json.dumps(value).encode()
    if level(value) > LIMIT:
        with pytest.raises(MalformedBody, match=r"deeper than 64 levels \(from byte \d+\)"):
            structure.check(body)
    else:
        structure.check(body)


@given(items=st.lists(NESTED, min_size=1, max_size=6))
def test_items_are_those_of_the_outermost_list(items: list[Any]) -> None:
    assert structure.items(json.dumps(items).encode()) == len(items)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"[" + b"[]," * 1_100_000 + b"1]", "1000000 lists and objects"),
        (b"[" + b"{}," * 1_100_000 + b"1]", "1000000 lists and objects"),
        (b"{" + b'"a":1,' * 110_000 + b'"a":1}', "100000 members of objects"),
        (b"[" + b'"",' * 1_100_000 + b"1]", "1000000 strings"),
        (b"[" + b"1," * 4_100_000 + b"1]", "4000000 values"),
    ],
)
def test_body_with_too_much_in_it_is_refused_before_it_is_parsed(gate: Gate, body: bytes, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason) as caught:
        structure.check(body)
    assert caught.value.faults[0].pointer == "#"
    answer = gate.client.post("/v1/jobs", data=body, content_type="application/json")
    assert (answer.status_code, answer.json["code"]) == (422, "invalid_input")


@pytest.mark.parametrize("end", [b"", b"]" * 5, b'"', b"\\"])
@pytest.mark.parametrize("begin", [b"[" * 200_000, b'{"a":' * 90_000, b"[" * 70 + b'"' + b'\\"' * 900_000])
def test_text_that_is_no_json_is_malformed_however_it_breaks_off(gate: Gate, begin: bytes, end: bytes) -> None:
    answer = gate.client.post("/v1/jobs", data=begin + end, content_type="application/json")
    assert (answer.status_code, answer.json["code"]) == (400, "malformed_body")


NUMBERS = ["1e400", "-1e400", "9" * 5000, "1" + "0" * 310, "1e-400", "-0", "18446744073709551616", "1." + "0" * 5000]


@pytest.mark.parametrize("number", [*NUMBERS, "NaN", "Infinity", "-Infinity", "01", "0x10"])
@pytest.mark.parametrize(
    "template",
    [
        '{"model": "echo", "inputs": {"x": [1, 2, 3, %s]}}',
        '{"model": "echo", "inputs": {"x": [1, 2, 3, 4]}, "metadata": {"n": %s}}',
        '{"model": "echo", "inputs": {"x": [1, 2, 3, 4]}, "parameters": {"n": [%s]}}',
        '{"model": "echo", "inputs": {"x": [1, 2, 3, 4]}, "timeout_s": %s}',
        '{"model": "echo", "inputs": {"x": [1, 2, 3, 4]}, "max_attempts": %s}',
        '{"model": "pair", "inputs": {"text": "a", "weight": {"b64": "AAAA", "shape": [%s]}}}',
    ],
)
def test_numbers_of_any_size_are_taken_or_refused_never_an_error_of_ours(
    gate: Gate, template: str, number: str
) -> None:
    body = (template % number).encode()
    for headers in ({}, {"Idempotency-Key": "k"}):
        answer = gate.client.post("/v1/jobs", data=body, content_type="application/json", headers=headers)
        assert answer.status_code in (202, 400, 422), answer.text
        if answer.status_code != 202:
            assert answer.json["detail"]
            continue
        # What was taken can be shown.
        assert gate.client.get(f"/v1/jobs/{answer.json['id']}").status_code == 200
        assert gate.client.get("/v1/jobs?metadata.n=1").status_code == 200


@pytest.mark.parametrize("text", ["\\u0000", "a\\u0000b", "\\uffff", "\\ud83d\\ude00", "\\n", "%00", "../"])
def test_control_characters_in_strings_break_nothing(gate: Gate, text: str) -> None:
    for body in (
        f'{{"model": "{text}", "inputs": {{"x": [1,2,3,4]}}}}',
        f'{{"model": "echo", "version": "{text}", "inputs": {{"x": [1,2,3,4]}}}}',
        f'{{"model": "echo", "inputs": {{"{text}": [1,2,3,4]}}}}',
        f'{{"model": "reader", "inputs": {{"image": "{text}"}}, "metadata": {{"{text}": "{text}"}}}}',
        f'{{"model": "reader", "inputs": {{"image": {{"object": "{text}"}}}}}}',
    ):
        answer = gate.client.post("/v1/jobs", data=body.encode(), content_type="application/json")
        assert answer.status_code in (202, 404, 422), answer.text
        if answer.status_code == 202:
            assert gate.client.get(f"/v1/jobs/{answer.json['id']}").status_code == 200


def test_last_of_two_members_of_one_name_counts_here_and_in_the_message(gate: Gate) -> None:
    """One reading for everybody: what was checked is what is run."""
    body = b'{"model": "nothing", "model": "echo", "inputs": {"x": [9,9,9,9], "x": [1,2,3,4]}}'
    answer = gate.client.post("/v1/jobs", data=body, content_type="application/json")
    assert answer.status_code == 202
    (message,) = gate.queued()
    assert (message["model"], message["inputs"]) == ("echo", {"x": X})
    assert gate.record(answer.json["id"]).message.count(b'"x"') == 1


def test_list_of_too_many_submissions_is_counted_before_it_is_made(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    from gateway.views import batch

    class Untouchable:
        def decode(self, body: bytes) -> None:
            raise AssertionError("the list was made")

    monkeypatch.setattr(batch, "_items", Untouchable())
    answer = gate.client.post("/v1/jobs:batch", data=b"[" + b"1," * 3_000_000 + b"1]", content_type="application/json")
    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, "#")
    assert "holds 3000001 submissions; send 1 to 1000" in answer.json["detail"]


@pytest.mark.parametrize("body", [b"\n" * (MAX_LINES + 1), b"{}\n" * (MAX_LINES + 1), b"{}\n" * 1001, b"\n\n"])
def test_ndjson_has_its_limits_too(gate: Gate, body: bytes) -> None:
    answer = gate.client.post("/v1/jobs:batch", data=body, content_type="application/x-ndjson")
    assert (answer.status_code, answer.json["code"]) == (422, "invalid_input")


def test_batch_of_a_thousand_with_nested_inputs_is_still_taken(gate: Gate) -> None:
    gate_answer = gate.client.post("/v1/jobs:batch", json=[ECHO | {"inputs": {"x": [X] * 20}}] * 1000)
    assert gate_answer.status_code == 200
    assert {one["job"]["status"] for one in gate_answer.json["data"]} == {"queued"}


def test_compressed_upload_is_refused_as_nobody_would_unpack_it(gate: Gate) -> None:
    headers = {"Content-Encoding": "gzip"}
    for path in ("/v1/objects", "/v1/jobs:batch"):
        answer = gate.client.post(path, data=b"x", headers=headers, content_type="application/json")
        assert (answer.status_code, answer.json["code"]) == (415, "unsupported_media_type")


def form(gate: Gate, parts: bytes, boundary: str = "b") -> Any:
    kind = f"multipart/form-data; boundary={boundary}"
    return gate.client.post("/v1/jobs", data=parts + f"--{boundary}--\r\n".encode(), content_type=kind)


def test_form_of_too_many_parts_or_too_long_heads_is_refused(gate: Gate) -> None:
    part = b"--b\r\nContent-Disposition: form-data; name=f%d\r\n\r\nx\r\n"
    assert form(gate, b"".join(part % number for number in range(300))).status_code == 413
    long = b'--b\r\nContent-Disposition: form-data; name="' + b"n" * 400_000 + b'"\r\n\r\nx\r\n'
    assert form(gate, long).status_code == 413
    many = b"--b\r\nContent-Disposition: form-data; name=a\r\n" + b"X-A: b\r\n" * 60_000 + b"\r\nx\r\n"
    assert form(gate, many).status_code == 413
    assert form(gate, b"", boundary="b" * 71).status_code == 400
