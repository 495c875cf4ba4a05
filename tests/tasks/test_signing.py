"""Signed messages: what is forged, changed or signed by another key is told from what is ours."""

import base64
import hashlib
import hmac
import json
import re
from pathlib import Path

import msgspec
import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from errors import Forbidden, SettingsError
from examples import push
from settings import Settings
from storage.jobs import JobStore
from storage.refused import Refused
from tasks.draining import Undertaker
from tasks.message import VERSION, Message, decode
from tasks.signing import Signing, signing

ROOT = Path(__file__).resolve().parents[2]
OLD, NEW = "old-" * 8, "new-" * 8
OURS = Signing([OLD.encode()])
MESSAGE = Message(v=VERSION, id="job_1", model="echo", version="1", inputs=msgspec.Raw(b'{"x":[1]}'), tenant="acme")
BODY = MESSAGE.encode()


@given(key=st.binary(min_size=1, max_size=200))
def test_keys_of_any_length_give_the_standard_hmac(key: bytes) -> None:
    signature = base64.b64encode(hmac.digest(key, BODY, "sha256"))
    assert signature in Signing([key]).sign(BODY)


def test_signature_is_what_the_documentation_says() -> None:
    """Computed here without our code, as any other language would."""
    signature = base64.b64encode(hmac.new(OLD.encode(), BODY, hashlib.sha256).digest())
    assert OURS.sign(BODY) == BODY[:-1] + b',"sig":"v1,' + signature + b'"}'


def test_example_in_the_documentation_is_right() -> None:
    text = (ROOT / "docs" / "messages.md").read_text()
    key, signed = re.search(r"For the key `([^`]+)`.*?`(\{[^`]+)`\. A message", text, re.DOTALL).groups()  # type: ignore[union-attr]
    Signing([key.encode()]).check(signed.encode())


def test_signed_message_is_the_same_job() -> None:
    signed = OURS.sign(BODY)
    OURS.check(signed)
    assert decode(signed) == MESSAGE


@given(inputs=st.dictionaries(st.text(), st.text()), key=st.binary(min_size=32, max_size=200))
def test_whatever_is_signed_is_known_again(inputs: dict[str, str], key: bytes) -> None:
    body = json.dumps(inputs).encode()
    Signing([key]).check(Signing([key]).sign(body))


@given(at=st.integers(min_value=0), bit=st.integers(min_value=0, max_value=7))
def test_message_with_any_bit_changed_is_refused(at: int, bit: int) -> None:
    signed = bytearray(OURS.sign(BODY))
    signed[at % len(signed)] ^= 1 << bit
    with pytest.raises(Forbidden):
        OURS.check(bytes(signed))


@pytest.mark.parametrize(
    "forged",
    [
        BODY,
        b"",
        b"}",
        BODY[:-1] + b',"sig":"v1,' + b"A" * 43 + b'="}',
        BODY[:-1] + b',"sig":""}',
        BODY[:-1] + b',"sig":null}',
        Signing([NEW.encode()]).sign(BODY),
        OURS.sign(BODY) + b" ",
        OURS.sign(BODY)[:-1] + b',"tenant":"umbra"}',
        OURS.sign(BODY).replace(b'"acme"', b'"umbr"'),
        # One signature, and a second member of the same name after it.
        OURS.sign(BODY)[:-1] + b',"sig":"v1,' + b"A" * 43 + b'="}',
    ],
)
def test_forged_message_is_refused(forged: bytes) -> None:
    with pytest.raises(Forbidden, match=r"not signed|no key that is known"):
        OURS.check(forged)


def test_two_keys_are_known_while_one_takes_over() -> None:
    both = signing(Settings(signing_key=f" {NEW}, {OLD} "))
    assert both is not None
    both.check(OURS.sign(BODY))
    both.check(Signing([NEW.encode()]).sign(BODY))
    with pytest.raises(Forbidden):
        OURS.check(both.sign(BODY))


def test_without_a_key_nothing_is_signed() -> None:
    assert signing(Settings()) is None


def test_key_that_could_be_guessed_is_an_error_that_does_not_show_it() -> None:
    with pytest.raises(SettingsError, match="32 characters") as caught:
        Settings(signing_key="hunter2," + NEW)
    assert "hunter2" not in caught.value.detail
    assert Settings(signing_key=NEW).shown()["PENSTOCK_SIGNING_KEY"] == "***"


def test_key_can_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(NEW + "\n")
    assert Settings.from_env({"PENSTOCK_SIGNING_KEY_FILE": str(tmp_path / "key")}).signing_keys == (NEW.encode(),)


def test_example_pushes_what_workers_take(monkeypatch: pytest.MonkeyPatch) -> None:
    assert push.signed(BODY) == BODY
    monkeypatch.setenv("PENSTOCK_SIGNING_KEY", f"{OLD},{NEW}")
    OURS.check(push.signed(BODY))


def test_forged_dead_letter_makes_no_job(store: "redis.Redis") -> None:
    jobs, refused = JobStore(store), Refused(store)
    undertaker = Undertaker(jobs, refused, OURS)
    undertaker.bury(BODY, queue=MESSAGE.queue, reason="rejected")
    assert jobs.get("job_1") is None
    (seen,) = refused.newest(9)
    assert "not signed" in seen.refusal.reason
    undertaker.bury(OURS.sign(BODY), queue=MESSAGE.queue, reason="rejected")
    assert jobs.get("job_1") is not None
