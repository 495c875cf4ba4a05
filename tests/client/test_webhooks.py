"""`verify` against the public library and its vector; endpoints and deliveries by SDK and command line."""

import json
from datetime import UTC, datetime
from typing import Any

import hypothesis.strategies as st
import pytest
from click.testing import CliRunner
from hypothesis import given
from penstock import Penstock, UnverifiedWebhook
from penstock.cli import cli
from penstock.webhooks import verify
from standardwebhooks.webhooks import Webhook

from tests.client.desk import Desk

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSx"
#: https://github.com/standard-webhooks/standard-webhooks, the libraries' own test.
BODY, NOW_S = b'{"test": 2432232314}', 1614265330.0
HEADERS = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
ENDPOINT = {"id": "whe_1", "url": "https://erp.example", "events": ["job.completed"], "enabled": True}
DELIVERY = {
    "id": "msg_1", "event": "job.completed", "job": "job_1", "status": "pending", "sendings": 1,
    "next_attempt_at": "2026-01-01T00:00:05.000Z",
    "attempts": [{"at": "2026-01-01T00:00:00.000Z", "status": 503, "latency_ms": 2.5, "error": "answered 503"}],
}  # fmt: skip


def test_published_vector_is_verified_in_any_case_of_letters() -> None:
    assert verify(HEADERS, BODY, SECRET, now_s=NOW_S) == {"test": 2432232314}
    shouted = {name.upper(): value for name, value in HEADERS.items()}
    assert verify(shouted, BODY.decode(), SECRET.removeprefix("whsec_"), now_s=NOW_S) == {"test": 2432232314}


def test_one_of_several_signatures_or_secrets_is_enough() -> None:
    more = HEADERS | {"webhook-signature": "v1,AAAA v1a,BBBB " + HEADERS["webhook-signature"]}
    assert verify(more, BODY, [OTHER, SECRET], now_s=NOW_S)


@given(st.dictionaries(st.text(max_size=9), st.integers(), max_size=5))
def test_what_the_public_library_signs_is_verified(event: dict[str, int]) -> None:
    now, body = datetime.now(UTC), json.dumps(event)
    headers = HEADERS | {
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(SECRET).sign(HEADERS["webhook-id"], now, body),
    }
    assert verify(headers, body, SECRET) == event


@pytest.mark.parametrize(
    ("change", "body", "secret", "now_s", "reason"),
    [
        ({}, BODY + b" ", SECRET, NOW_S, "no signature fits"),
        ({}, BODY, OTHER, NOW_S, "no signature fits"),
        ({"webhook-id": "msg_2"}, BODY, SECRET, NOW_S, "no signature fits"),
        ({"webhook-timestamp": "1614265331"}, BODY, SECRET, NOW_S, "no signature fits"),
        (
            {"webhook-signature": "v1a,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
            BODY,
            SECRET,
            NOW_S,
            "no signature",
        ),
        ({"webhook-signature": "v1,é"}, BODY, SECRET, NOW_S, "no signature fits"),
        ({"webhook-signature": ""}, BODY, SECRET, NOW_S, "webhook-signature is missing"),
        ({"Webhook-Id": "msg_2"}, BODY, SECRET, NOW_S, "webhook-id is there twice"),
        ({"webhook-timestamp": "+1614265330"}, BODY, SECRET, NOW_S, "no number"),
        ({"webhook-timestamp": "١٦١٤٢٦٥٣٣٠"}, BODY, SECRET, NOW_S, "no number"),
        ({}, BODY, SECRET, NOW_S + 301, "301 s old"),
        ({}, BODY, SECRET, NOW_S - 301, "-301 s old"),
    ],
)
def test_what_is_not_certain_is_refused(
    change: dict[str, str], body: bytes, secret: str, now_s: float, reason: str
) -> None:
    with pytest.raises(UnverifiedWebhook, match=reason):
        verify(HEADERS | change, body, secret, now_s=now_s)


def test_wrong_secret_of_ones_own_is_a_mistake_and_no_forgery() -> None:
    with pytest.raises(ValueError, match="base64"):
        verify(HEADERS, BODY, "whsec_é!", now_s=NOW_S)


def test_endpoints_are_made_rotated_and_listed(desk: Desk, client: Penstock) -> None:
    desk.say(ENDPOINT | {"secret": SECRET}, 201).say(ENDPOINT | {"secret": OTHER}).say({"data": [ENDPOINT]})
    made = client.webhooks.create("https://erp.example", events=["job.started"], description="ERP")
    assert made.secret == SECRET
    assert SECRET not in repr(made)
    assert client.webhooks.rotate("whe_1", overlap_s=60).secret == OTHER
    assert [one.id for one in client.webhooks.list()] == ["whe_1"]
    assert [(one.method, one.path) for one in desk.seen] == [
        ("POST", "/v1/webhooks"), ("POST", "/v1/webhooks/whe_1/rotate"), ("GET", "/v1/webhooks"),
    ]  # fmt: skip
    assert desk.seen[0].json() == {"url": "https://erp.example", "events": ["job.started"], "description": "ERP"}
    assert desk.seen[1].json() == {"overlap_s": 60}


def test_changes_name_only_what_changes(desk: Desk, client: Penstock) -> None:
    desk.say(ENDPOINT)
    client.webhooks.change("whe_1", description="new")
    client.webhooks.disable("whe_1")
    client.webhooks.enable("whe_1")
    client.webhooks.get("whe_1")
    client.webhooks.delete("whe_1")
    assert desk.seen[0].json() == {"description": "new"}
    assert [(one.method, one.path) for one in desk.seen[1:]] == [
        ("POST", "/v1/webhooks/whe_1/disable"), ("POST", "/v1/webhooks/whe_1/enable"), ("GET", "/v1/webhooks/whe_1"),
        ("DELETE", "/v1/webhooks/whe_1"),
    ]  # fmt: skip


def test_deliveries_of_a_job_are_read_and_sent_again(desk: Desk, client: Penstock) -> None:
    desk.say({"data": [DELIVERY]})
    (found,) = client.webhooks.deliveries("job_1")
    assert (found.status, found.attempts[0].status, found.attempts[0].error) == ("pending", 503, "answered 503")
    assert found.next_attempt_at == datetime(2026, 1, 1, 0, 0, 5, tzinfo=UTC)
    client.webhooks.redeliver("job_1", "msg_1")
    client.webhooks.deliveries("whe_1")
    assert [one.path for one in desk.seen] == [
        "/v1/jobs/job_1/deliveries", "/v1/jobs/job_1/redeliver", "/v1/webhooks/whe_1/deliveries",
    ]  # fmt: skip
    assert desk.seen[1].json() == {"delivery": "msg_1"}


@pytest.mark.parametrize(
    ("words", "reply", "shown"),
    [
        ("add https://erp.example --event job.started", ENDPOINT | {"secret": SECRET}, f"whe_1  {SECRET}"),
        ("rotate whe_1 --overlap 0", ENDPOINT | {"secret": SECRET}, SECRET),
        ("list", {"data": [ENDPOINT]}, "whe_1  enabled  job.completed  https://erp.example"),
        ("disable whe_1", ENDPOINT | {"enabled": False, "disabled_reason": "asked"}, "disabled: asked"),
        ("enable whe_1", ENDPOINT, "enabled"),
        ("remove whe_1", {}, "removed whe_1"),
        ("test whe_1", {"data": [DELIVERY]}, "msg_1"),
        ("deliveries job_1", {"data": [DELIVERY]}, "503 in 2.5 ms"),
        ("redeliver job_1", {"data": [DELIVERY]}, "msg_1"),
    ],
)
def test_command_shows_what_matters_and_json_all(desk: Desk, words: str, reply: Any, shown: str) -> None:
    desk.say(reply)
    plain = CliRunner().invoke(cli, ["--url", desk.url, "webhook", *words.split()])
    assert plain.exit_code == 0, plain.output
    assert shown in plain.stdout
    found = json.loads(CliRunner().invoke(cli, ["--url", desk.url, "webhook", *words.split(), "--json"]).stdout)
    assert found in (reply, reply.get("data"), {"id": "whe_1", "removed": True})
