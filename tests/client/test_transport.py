import socket

import pytest
from penstock import (
    Away,
    BadRequest,
    Busy,
    InvalidInput,
    NotThere,
    Penstock,
    PenstockError,
    QueueFull,
    Unauthenticated,
    UnexpectedAnswer,
    Unreachable,
)

from tests.client.conftest import Clock
from tests.client.desk import Desk, job, problem


def test_a_problem_document_becomes_its_class_with_all_it_says(desk: Desk, client: Penstock) -> None:
    faults = [{"pointer": "#/inputs/text", "detail": "no such input"}]
    desk.say(problem("invalid_input", 422, "bad", request_id="r1", errors=faults, retryable=False), 422)
    with pytest.raises(InvalidInput) as caught:
        client.jobs.get("job_01J")
    error = caught.value
    assert (error.code, error.status, error.detail, error.request_id) == ("invalid_input", 422, "bad", "r1")
    assert error.errors[0].pointer == "#/inputs/text"
    assert error.problem()["errors"] == faults


@pytest.mark.parametrize(
    ("status", "cls"), [(401, Unauthenticated), (404, NotThere), (418, BadRequest), (500, PenstockError)]
)
def test_an_answer_without_a_known_code_is_told_by_its_status(
    desk: Desk, client: Penstock, status: int, cls: type[PenstockError]
) -> None:
    desk.say(b"<h1>no</h1>", status, X_Request_Id="r2")
    with pytest.raises(cls) as caught:
        client.jobs.get("job_01J")
    assert (caught.value.status, caught.value.request_id) == (status, "r2")


def test_a_code_of_a_newer_gateway_is_kept(desk: Desk, client: Penstock) -> None:
    desk.say(problem("gone_fishing", 410), 410)
    with pytest.raises(NotThere) as caught:
        client.jobs.get("job_01J")
    assert caught.value.code == "gone_fishing"


def test_html_with_status_200_is_no_gateway(desk: Desk, client: Penstock) -> None:
    desk.say(b"<html>")
    with pytest.raises(UnexpectedAnswer, match="Penstock gateway"):
        client.jobs.get("job_01J")


def test_a_busy_gateway_is_asked_again_after_the_time_it_names(desk: Desk, client: Penstock, clock: Clock) -> None:
    desk.say(problem("queue_full", 429, retry_after_s=3), 429).say(b"", 503, Retry_After="2").say(job())
    assert client.jobs.get("job_01J").status == "queued"
    assert clock.pauses == [3.0, 2.0]


def test_patience_ends_and_the_last_error_is_raised(desk: Desk, client: Penstock, clock: Clock) -> None:
    desk.say(b"", 502)
    with pytest.raises(Away):
        client.jobs.get("job_01J")
    assert 4 < len(desk.seen) < 20
    assert 10 < clock.now <= 15


def test_a_wait_longer_than_the_patience_is_raised_at_once(desk: Desk, client: Penstock, clock: Clock) -> None:
    desk.say(problem("quota_exceeded", 429, retry_after_s=3600), 429)
    with pytest.raises(Busy) as caught:
        client.jobs.get("job_01J")
    assert (caught.value.retry_after_s, clock.pauses) == (3600, [])


def test_a_lost_answer_to_a_submit_is_asked_for_with_the_same_key(desk: Desk, client: Penstock) -> None:
    desk.hang_up().say(b"", 502).say(job())
    client.jobs.submit("echo", {"x": [1]})
    keys = [seen.headers["idempotency-key"] for seen in desk.seen]
    assert len(keys) == 3
    assert len(set(keys)) == 1
    assert len({seen.body for seen in desk.seen}) == 1


def test_two_submits_have_two_keys(desk: Desk, client: Penstock) -> None:
    desk.say(job())
    client.jobs.submit("echo", {"x": [1]})
    client.jobs.submit("echo", {"x": [1]})
    assert desk.seen[0].headers["idempotency-key"] != desk.seen[1].headers["idempotency-key"]


def test_a_lost_answer_to_a_retry_is_not_asked_for_again(desk: Desk, client: Penstock) -> None:
    desk.hang_up().say(job())
    with pytest.raises(Unreachable) as caught:
        client.jobs.retry("job_01J")
    assert len(desk.seen) == 1
    assert desk.url in caught.value.detail


def test_a_refusal_of_a_retry_is_repeated(desk: Desk, client: Penstock) -> None:
    desk.say(problem("queue_full", 429), 429).say(job())
    assert client.jobs.retry("job_01J").status == "queued"


def test_nobody_listening_is_told_in_plain_words() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with Penstock(f"http://127.0.0.1:{port}", retry_for_s=0) as client, pytest.raises(Unreachable) as caught:
        client.models.list()
    assert caught.value.detail == f"cannot reach http://127.0.0.1:{port} (connection refused)"
    assert caught.value.retryable
    assert not caught.value.sent


def test_an_answer_that_does_not_come_is_unreachable_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Penstock(url, timeout_s=0.05, retry_for_s=0) as client, pytest.raises(Unreachable, match="in time"):
            client.models.list()


def test_the_key_goes_as_bearer_and_the_version_as_agent(desk: Desk, client: Penstock) -> None:
    desk.say({"data": []})
    client.models.list()
    assert desk.seen[0].headers["authorization"] == "Bearer a-key"
    assert desk.seen[0].headers["user-agent"].startswith("penstock/")


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://farm", "http://farm:port"])
def test_an_address_that_is_none_is_a_value_error(url: str) -> None:
    with pytest.raises(ValueError, match="address"):
        Penstock(url)


def test_url_and_key_come_from_the_environment(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_URL", desk.url + "/")
    monkeypatch.setenv("PENSTOCK_API_KEY", "from-env")
    desk.say({"data": []})
    with Penstock() as client:
        client.models.list()
    assert client.url == desk.url
    assert desk.seen[0].headers["authorization"] == "Bearer from-env"


def test_the_detail_of_a_full_queue_is_the_message(desk: Desk, clock: Clock) -> None:
    desk.say(problem("queue_full", 429, "model 'ocr' has 10000 jobs waiting"), 429)
    with Penstock(desk.url, retry_for_s=0) as client, pytest.raises(QueueFull, match="10000 jobs waiting"):
        client.jobs.submit("ocr", {"image": b""})
