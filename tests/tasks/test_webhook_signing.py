"""Signatures, against the public library and its published vector."""

from datetime import UTC, datetime

import hypothesis.strategies as st
import pytest
from hypothesis import given
from standardwebhooks.webhooks import Webhook

from storage.webhooks import new_secret
from tasks.webhooks import signing

#: https://github.com/standard-webhooks/standard-webhooks, the libraries' own test.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID, TIMESTAMP_S, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_published_vector() -> None:
    assert signing.sign(ID, TIMESTAMP_S, BODY, SECRET) == SIGNATURE
    assert signing.sign(ID, TIMESTAMP_S, BODY, SECRET.removeprefix("whsec_")) == SIGNATURE


@given(st.text(min_size=1, max_size=40).filter(str.isprintable), st.text(max_size=200))
def test_public_library_signs_alike(id: str, body: str) -> None:
    secret, now = new_secret(), datetime.now(UTC)
    theirs = Webhook(secret).sign(id, now, body)
    assert signing.sign(id, int(now.timestamp()), body.encode(), secret) == theirs


def test_public_library_takes_either_secret_during_a_rotation() -> None:
    old, new, now_s = new_secret(), new_secret(), int(datetime.now(UTC).timestamp())
    headers = signing.headers("msg_1", timestamp_s=now_s, body=b'{"a":1}', secrets=(new, old))
    assert headers["webhook-signature"].count("v1,") == 2
    for secret in (old, new):
        assert Webhook(secret).verify(b'{"a":1}', headers) == {"a": 1}


def test_secret_that_is_no_base64_is_said_so_without_showing_it() -> None:
    with pytest.raises(ValueError, match="base64") as raised:
        signing.sign("msg_1", 0, b"", "whsec_not!base64")
    assert "not!base64" not in str(raised.value)
