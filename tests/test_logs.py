"""Logs: no secret, no line that a client wrote, nothing endless; whatever is logged and however."""

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logs import MOST, JsonFormatter, Masking, TextFormatter, one_line
from settings import Settings

ROOT = Path(__file__).resolve().parents[1]
SIGNING = "a-signing-key-of-32-characters-or-more"
SETTINGS = Settings(
    broker_url="amqp://farm:br0ker%2Fpassword@mq:5672/vhost",
    redis_url="redis://:redis-password@store:6379/0",
    objects_url="s3://AKIAKEY:s3cret-access-key@s3:9000/bucket",
    signing_key=f"{SIGNING},{SIGNING}-former",
)
FORMATTERS = [TextFormatter("gateway", Masking(SETTINGS)), JsonFormatter("gateway", Masking(SETTINGS))]
SECRETS = [
    "psk_" + "A1-_" * 10,
    "whsec_" + "c2VjcmV0c2VjcmV0c2VjcmV0+/==",
    "br0ker/password",
    "br0ker%2Fpassword",
    "redis-password",
    "s3cret-access-key",
    SIGNING,
]
#: Where secrets stand, and what of it stays.
PLACES = [
    ("Authorization: Bearer {}", "Bearer ***"),
    ("amqp://farm:{}@mq:5672/", "amqp://***@mq:5672/"),
    ("redis://:{}@store:6379/0 does not answer", "redis://***@store:6379/0 does not answer"),
    ("https://s3/b/k?X-Amz-Expires=9&X-Amz-Signature={}&x=1", "X-Amz-Signature=***&x=1"),
    ("https://hooks.example/h?token={}", "token=***"),
    ("PUT /v1/links/WyJQVVQ.{} 200", "/v1/links/*** 200"),
    ("Basic {}", "Basic ***"),
]
UNKNOWN = "abcDEF0123456789xyz"


def record(message: str = "said", error: BaseException | None = None, **extra: Any) -> logging.LogRecord:
    made = logging.makeLogRecord({"msg": message, "name": "test", "levelname": "ERROR", "levelno": 40, **extra})
    if error is not None:
        made.exc_info = (type(error), error, error.__traceback__)
    return made


def raised(text: str) -> BaseException:
    try:
        try:
            raise OSError(f"inner {text}")
        except OSError as cause:
            raise ValueError(text) from cause
    except ValueError as error:
        return error


@pytest.mark.parametrize("formatter", FORMATTERS)
@pytest.mark.parametrize("secret", SECRETS)
def test_secret_is_masked_in_messages_fields_and_tracebacks(formatter: logging.Formatter, secret: str) -> None:
    for text in (
        formatter.format(record(f"cannot use {secret}")),
        formatter.format(record(url=f"x {secret} y", deep={"a": [secret]})),
        formatter.format(record(error=raised(f"refused: {secret}"))),
    ):
        assert secret not in text
        assert "***" in text


@pytest.mark.parametrize("formatter", FORMATTERS)
@pytest.mark.parametrize(("place", "left"), PLACES)
def test_secret_that_nobody_knows_is_masked_by_its_place(formatter: logging.Formatter, place: str, left: str) -> None:
    for made in (
        record(place.format(UNKNOWN)),
        record(value=place.format(UNKNOWN)),
        record(error=raised(place.format(UNKNOWN))),
    ):
        text = formatter.format(made)
        assert UNKNOWN not in text
        assert left in text


@given(text=st.text() | st.sampled_from(["a\nb", "a\r\nb", "\x1b[31mred", "\u2028", "\x85", "\u202eevil", "\x00"]))
def test_text_log_has_one_line_for_a_record_whatever_is_in_it(text: str) -> None:
    formatter = TextFormatter("gateway", Masking(SETTINGS))
    line = formatter.format(record(text, value=text, number=1, other=[text]))
    assert len(line.splitlines()) == 1
    assert line.isprintable() or not any(ord(character) < 32 or 0x7F <= ord(character) < 0xA0 for character in line)


@given(text=st.text(min_size=1))
def test_traceback_cannot_pass_for_a_line_of_the_log(text: str) -> None:
    lines = (
        TextFormatter("gateway").format(record(error=raised(text + "\n12:00:00.000 info gateway forged"))).split("\n")
    )
    assert all(line.startswith("  | ") for line in lines[1:])
    assert not any(ord(character) < 32 for line in lines for character in line)


@given(text=st.text())
def test_json_log_is_one_line_of_json_that_says_what_was_said(text: str) -> None:
    line = JsonFormatter("gateway").format(record("said", value=text, error=raised(text)))
    assert line.isascii()
    assert len(line.splitlines()) == 1
    assert json.loads(line)["value"] == text


@pytest.mark.parametrize("formatter", FORMATTERS)
def test_endless_value_is_cut(formatter: logging.Formatter) -> None:
    assert len(formatter.format(record("x" * 10**6, value="y" * 10**6))) < 3 * MOST


def test_ordinary_words_stay() -> None:
    for text in ("model=echo device=cpu:0", "https://a.example/x?wait=5", "bearer of news", "token", "a@b.example"):
        assert Masking(SETTINGS)(text) == text
    assert one_line("é💧") == "é💧"


DIE = """
import os, threading
import logs
from settings import Settings
logs.configure(Settings.from_env(os.environ), "test")
secret = "psk_" + "A" * 40
def fail(): raise ValueError("thread\\n" + secret)
thread = threading.Thread(target=fail); thread.start(); thread.join()
raise ValueError("main\\n" + secret)
"""


def test_what_nobody_caught_goes_the_same_way() -> None:
    ran = subprocess.run([sys.executable, "-c", DIE], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 1
    assert "A" * 40 not in ran.stderr
    assert ran.stderr.count("by an error that nobody caught") == 2
    assert all(line.startswith("  | ") or "nobody caught" in line for line in ran.stderr.splitlines())
