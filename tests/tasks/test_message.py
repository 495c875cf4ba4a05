"""What anyone may put into the queue: read, or refused with a reason; never anything else."""

import json

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given

from errors import InvalidInput, MalformedBody
from tasks.message import VERSION, Message, decode

GOOD = {"v": VERSION, "id": "a-1", "model": "echo", "version": "1", "inputs": {"x": [1.5]}}


def test_smallest_message_has_the_documented_defaults() -> None:
    message = decode(json.dumps(GOOD).encode())
    assert (message.queue, message.tenant, message.max_attempts, message.result_ttl_s, message.rows) == (
        "cpu.echo.1.normal", "local", 3, 86_400, 1,
    )  # fmt: skip
    assert msgspec.json.decode(message.inputs) == {"x": [1.5]}


def test_encoded_message_reads_back_equal() -> None:
    message = decode(json.dumps(GOOD | {"priority": "high", "metadata": {"k": [1]}, "queue_ttl_s": 2}).encode())
    again = decode(message.encode())
    assert bytes(again.inputs) == bytes(message.inputs)
    assert msgspec.structs.replace(again, inputs=msgspec.Raw(b"")) == msgspec.structs.replace(
        message, inputs=msgspec.Raw(b"")
    )


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"v": 2}, "version 2"),
        ({"id": "../etc"}, "id"),
        ({"id": ""}, "id"),
        ({"tenant": "a/b"}, "tenant"),
        ({"priority": "urgent"}, "priority"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"timeout_s": -1}, "timeout_s"),
        ({"rows": 0}, "rows"),
        ({"weight": -1}, "weight"),
        ({"shape": "1x" * 100}, "shape"),
        ({"created_ms": 10**30}, "created_ms"),
        ({"id": "a\n"}, "id"),
        ({"deadline": "0001-01-01T00:00:00"}, "deadline"),
        ({"deadline": "tomorrow"}, "deadline"),
    ],
)
def test_field_that_does_not_fit_is_named(change: dict[str, object], error: str) -> None:
    with pytest.raises(InvalidInput, match=error):
        decode(json.dumps(GOOD | change).encode())


def test_start_by_is_the_earlier_of_queue_ttl_and_deadline() -> None:
    message = decode(json.dumps(GOOD | {"queue_ttl_s": 5, "deadline": "1970-01-01T00:00:03Z"}).encode())
    assert message.start_by_ms(0) == 3000
    assert message.start_by_ms(-4000) == 1000


fields = st.dictionaries(st.sampled_from(list(GOOD)), st.text() | st.integers() | st.none() | st.dates().map(str))


@given(
    st.binary()
    | fields.map(lambda more: json.dumps(GOOD | more).encode())
    | st.binary().map(lambda raw: b'{"v":1,"id":"' + raw)
)
def test_anything_is_a_message_or_refused(body: bytes) -> None:
    try:
        read: object = decode(body)
    except (InvalidInput, MalformedBody) as error:
        read = error
    assert isinstance(read, Message | InvalidInput | MalformedBody)
