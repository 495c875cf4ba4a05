"""Who wants to hear of a job's end, read from a message's header as any client may write it."""

from typing import Any

import hypothesis.strategies as st
from amqp import Message
from amqp.basic_message import Message as Basic
from hypothesis import given

from tasks import reply
from tasks.reply import Reply, in_header

texts = st.text(max_size=60)
properties = st.fixed_dictionaries(
    {},
    optional={
        "content_type": texts, "content_encoding": texts, "application_headers": st.dictionaries(st.text("ab"), texts),
        "delivery_mode": st.integers(1, 2), "priority": st.integers(0, 255), "correlation_id": texts,
        "reply_to": texts, "expiration": texts, "message_id": texts, "timestamp": st.integers(0, 2**31),
        "type": texts, "user_id": texts, "app_id": texts,
    },
)  # fmt: skip


def header(**properties: Any) -> bytes:
    message: Basic = Message(b"body", **properties)
    return bytes.fromhex("003c0000") + (4).to_bytes(8, "big") + bytes(message._serialize_properties())


@given(properties)
def test_address_is_found_among_whatever_properties(given: dict[str, Any]) -> None:
    queue = given.get("reply_to")
    expected = Reply(queue, given.get("correlation_id", "")) if queue else None
    assert in_header(header(**given)) == expected


@given(st.binary(max_size=80))
def test_header_that_is_none_has_no_address_and_raises_nothing(payload: bytes) -> None:
    in_header(payload)


@given(texts.filter(bool), texts)
def test_record_keeps_an_address(queue: str, correlation: str) -> None:
    address = Reply(queue, correlation)
    assert reply.decode(address.encode()) == address
    assert reply.decode("") is None
