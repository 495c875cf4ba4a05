"""Waiting: one subscription, no lost wake-up, and nobody waits for a process that ends."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.waiting import Waiting
from storage import keys
from tests.gateway.gate import ECHO, Gate, make_gate
from tests.services.valkey import valkey_service


@contextmanager
def in_background(call: Callable[..., object], *args: object, **options: object) -> Iterator[Callable[[], Any]]:
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(call, *args, **options)
        yield lambda: future.result(20)


def subscribed(gate: Gate, channel: str = keys.DONE) -> bool:
    return bool(dict(gate.store.pubsub_numsub(channel))[channel.encode()])


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.005)


def waiters(gate: Gate) -> int:
    return gate.parts.waiting._taken


def test_prefer_wait_answers_with_the_finished_job(gate: Gate) -> None:
    with in_background(gate.client.post, "/v1/jobs", json=ECHO, headers={"Prefer": "respond-async, wait=30"}) as answer:
        until(lambda: bool(gate.queued()))
        gate.finish(gate.queued()[0]["id"], {"y": [[1.5]]}, compute_ms=2.5)
        done = answer()
    assert (done.status_code, done.headers["Preference-Applied"]) == (200, "wait=30")
    job = done.json
    assert (job["status"], job["outputs"], job["attempt"]) == ("succeeded", {"y": [[1.5]]}, 1)
    assert (job["metrics"]["compute_ms"], job["metrics"]["device"]) == (2.5, "cpu:0")
    assert job["started_at"] <= job["completed_at"] < job["expires_at"]


def test_prefer_wait_answers_202_when_the_time_is_over(gate: Gate) -> None:
    answer = gate.client.post("/v1/jobs", json=ECHO, headers={"Prefer": "wait=1"})
    assert (answer.status_code, answer.headers["Preference-Applied"]) == (202, "wait=1")
    assert answer.json["status"] == "queued"


@pytest.mark.parametrize("preference", ["wait=x", "return=minimal", "wait", "wait=0", ""])
def test_preference_that_asks_for_no_wait_is_not_applied(gate: Gate, preference: str) -> None:
    answer = gate.client.post("/v1/jobs", json=ECHO, headers={"Prefer": preference})
    assert answer.status_code == 202
    assert "Preference-Applied" not in answer.headers


def test_preference_beyond_a_minute_is_cut(gate: Gate) -> None:
    with in_background(gate.client.post, "/v1/jobs", json=ECHO, headers={"Prefer": "wait=600"}) as answer:
        until(lambda: bool(gate.queued()))
        gate.finish(gate.queued()[0]["id"])
        assert answer().headers["Preference-Applied"] == "wait=60"


def test_long_poll_answers_at_the_jobs_end(gate: Gate) -> None:
    id = gate.submit()
    with in_background(gate.client.get, f"/v1/jobs/{id}?wait=30") as answer:
        until(lambda: waiters(gate) == 1)
        gate.finish(id)
        assert answer().json["status"] == "succeeded"
    assert gate.client.get(f"/v1/jobs/{id}?wait=30").json["status"] == "succeeded"


def test_long_poll_answers_with_the_job_as_it_is_when_the_time_is_over(gate: Gate) -> None:
    id = gate.submit()
    answer = gate.client.get(f"/v1/jobs/{id}?wait=0.05")
    assert (answer.status_code, answer.json["status"], answer.headers["Retry-After"]) == (200, "queued", "1")


@pytest.mark.parametrize("wait", ["x", "-1", "1e3", "nan"])
def test_wait_that_is_no_number_is_422(gate: Gate, wait: str) -> None:
    answer = gate.client.get(f"/v1/jobs/{gate.submit()}?wait={wait}")
    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, "?wait")


def test_no_wake_up_is_lost_between_reading_and_waiting(gate: Gate) -> None:
    # A job may end at any moment around the start of a wait; whoever missed it would wait for ten seconds.
    for _ in range(60):
        id = gate.submit()
        with in_background(gate.client.get, f"/v1/jobs/{id}?wait=10") as answer:
            gate.finish(id)
            assert answer().json["status"] == "succeeded"
    assert waiters(gate) == 0
    assert gate.parts.waiting._waiters == {}


def test_many_wait_over_one_subscription(make: Callable[..., Gate]) -> None:
    gate = make(slots=50)
    ids = [gate.submit() for _ in range(20)]
    with ThreadPoolExecutor(40) as pool:
        answers = [pool.submit(gate.client.get, f"/v1/jobs/{id}?wait=20") for id in ids * 2]
        until(lambda: waiters(gate) == 40)
        assert dict(gate.store.pubsub_numsub(keys.DONE)) == {keys.DONE.encode(): 1}
        for id in ids:
            gate.finish(id)
        assert {answer.result(10).json["status"] for answer in answers} == {"succeeded"}


def test_poll_beyond_the_slots_answers_at_once(make: Callable[..., Gate]) -> None:
    gate = make(slots=1)
    id = gate.submit()
    with in_background(gate.client.get, f"/v1/jobs/{id}?wait=30") as answer:
        until(lambda: waiters(gate) == 1)
        assert gate.client.get(f"/v1/jobs/{id}?wait=30").json["status"] == "queued"
        prefer = gate.client.post("/v1/jobs", json=ECHO, headers={"Prefer": "wait=30"})
        assert prefer.status_code == 202
        gate.finish(id)
        assert answer().json["status"] == "succeeded"


def test_shutdown_lets_go_of_everybody(gate: Gate) -> None:
    id = gate.submit()
    with in_background(gate.client.get, f"/v1/jobs/{id}?wait=60") as answer:
        until(lambda: waiters(gate) == 1)
        gate.parts.waiting.close()
        assert answer().json["status"] == "queued"
    assert gate.client.get(f"/v1/jobs/{id}?wait=60").json["status"] == "queued"


def test_end_that_comes_while_the_store_restarts_is_seen(tmp_path: Path, repository: Path) -> None:
    # Given somebody who waits, and a store that is killed
    valkey = valkey_service(tmp_path / "v")
    valkey.start()
    gate = make_gate(tmp_path, repository, valkey)
    try:
        id = gate.submit()
        with in_background(gate.client.get, f"/v1/jobs/{id}?wait=30") as answer:
            until(lambda: waiters(gate) == 1 and subscribed(gate))
            gate.store.execute_command("WAITAOF", 1, 0, 1000)
            valkey.stop()
            # When it is back, and the job ends before the subscription is
            valkey.start()
            gate.finish(id)
            # Then the end is seen all the same
            assert answer().json["status"] == "succeeded"
    finally:
        gate.close()
        valkey.stop()


def test_waiter_is_woken_by_its_job_alone(gate: Gate) -> None:
    waiting = Waiting(gate.store, gate.parts.jobs, slots=4, streams=2)
    with waiting.watch("job_a") as mine, waiting.watch("job_b") as other:
        assert mine is not None
        assert other is not None
        mine.wait(5)  # for the subscription, which wakes everybody once
        other.wait(5)
        gate.store.publish(keys.DONE, "job_a")
        assert mine.wait(5)
        assert not other.wait(0.05)
    waiting.close()


def test_thread_and_subscription_end_with_the_gateway(gate: Gate) -> None:
    with gate.parts.waiting.watch("job_a"):
        until(lambda: subscribed(gate))
    gate.parts.waiting.close()
    assert "waiting" not in {thread.name for thread in threading.enumerate()}
    until(lambda: not subscribed(gate))
