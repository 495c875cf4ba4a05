"""Failed jobs are listed by what they failed of, and go back to the queue by the same filter."""

import json
from typing import Any

import pytest

from storage import keys
from storage.job import Status
from storage.jobs import JobStore
from storage.quotas import Quota, Quotas
from tasks.replaying import Replayer, pace
from tests.gateway.gate import ECHO, Gate


def fail(gate: Gate, *, code: str = "model_error", **submission: Any) -> str:
    id = gate.submit(ECHO | submission)
    error = json.dumps({"code": code, "status": 500, "detail": "it broke"}).encode()
    gate.finish(id, status=Status.FAILED, error=error)
    return id


def listed(gate: Gate, query: str = "") -> list[str]:
    answer = gate.client.get(f"/v1/dead-letters{query}")
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json["data"]]


def replay(gate: Gate, **wish: Any) -> Any:
    answer = gate.client.post("/v1/dead-letters:replay", json=wish)
    assert answer.status_code in (200, 202), answer.text
    return answer.json


def relay(gate: Gate, *, slices: int = 9) -> None:
    """Work on replays as the orchestrator does."""
    jobs: JobStore = gate.parts.jobs
    replayer = Replayer(gate.parts.dead_letters, jobs, Quotas(gate.store))
    for _ in range(slices):
        for due in jobs.due(limit=100):
            if due.member.startswith("replay:"):
                replayer.step(due, due.member.partition(":")[2])


class Later:
    """A clock that is ahead by as much as a test says."""

    def __init__(self, jobs: JobStore) -> None:
        self._now_ms = jobs.now_ms
        self.ahead_ms = 0
        jobs.now_ms = self

    def __call__(self) -> int:
        return self._now_ms() + self.ahead_ms


def test_failed_jobs_are_listed_newest_first_with_what_happened_to_them(gate: Gate) -> None:
    first = fail(gate, metadata={"order": "A-17"})
    second = fail(gate, code="timed_out")
    gate.finish(gate.submit())
    assert listed(gate) == [second, first]
    letter = gate.client.get("/v1/dead-letters?code=model_error").json["data"][0]
    assert (letter["id"], letter["model"], letter["version"], letter["attempt"]) == (first, "echo", "1", 1)
    assert (letter["error"]["detail"], letter["metadata"]) == ("it broke", {"order": "A-17"})
    assert (letter["replays"], letter["former_errors"]) == (0, [])
    assert letter["url"].endswith(f"/v1/jobs/{first}")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?model=echo", 2), ("?model=other", 0), ("?version=1", 2), ("?version=2", 0), ("?code=timed_out", 1),
        ("?metadata.order=A-17", 1), ("?metadata.order=A-18", 0), ("?since=2020-01-01T00:00:00Z", 2),
        ("?until=2020-01-01T00:00:00Z", 0), ("?model=echo&code=model_error&metadata.order=A-17", 1),
    ],
)  # fmt: skip
def test_each_filter_keeps_what_it_says(gate: Gate, query: str, found: int) -> None:
    fail(gate, metadata={"order": "A-17"})
    fail(gate, code="timed_out")
    assert len(listed(gate, query)) == found


@pytest.mark.parametrize(
    "query", ["?limit=0", "?limit=x", "?since=yesterday", "?cursor=x", "?cursor=1-'", "?nothing=1"]
)
def test_query_that_makes_no_sense_is_refused_by_its_name(gate: Gate, query: str) -> None:
    answer = gate.client.get(f"/v1/dead-letters{query}")
    assert (answer.status_code, answer.json["code"]) == (422, "invalid_input")
    assert answer.json["errors"][0]["pointer"] == "?" + query[1:].partition("=")[0]


def test_pages_give_every_letter_once_though_many_failed_in_one_millisecond(gate: Gate) -> None:
    now = gate.parts.jobs.now_ms()
    gate.parts.jobs.now_ms = lambda: now
    ids = {fail(gate) for _ in range(7)}
    found, cursor = [], ""
    while True:
        page = gate.client.get(f"/v1/dead-letters?limit=2{cursor}").json
        found += [one["id"] for one in page["data"]]
        if not page["next_cursor"]:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert len(found) == 7
    assert set(found) == ids


def test_dry_run_counts_and_changes_nothing(gate: Gate) -> None:
    ids = [fail(gate) for _ in range(7)] + [fail(gate, code="timed_out")]
    plan = replay(gate, code="model_error", dry_run=True)
    assert (plan["object"], plan["matched"], plan["complete"]) == ("replay_plan", 7, True)
    assert [one["id"] for one in plan["sample"]] == sorted(ids[:7])[:5]
    assert replay(gate, ids=[ids[0], "job_none", ids[0]], dry_run=True)["matched"] == 1
    relay(gate)
    assert len(listed(gate)) == 8


def test_replay_queues_what_the_filter_means_again_and_keeps_the_lineage(gate: Gate) -> None:
    meant, other = fail(gate), fail(gate, code="timed_out")
    begun = replay(gate, code="model_error")
    assert (begun["status"], begun["replayed"]) == ("running", 0)
    later = Later(gate.parts.jobs)
    relay(gate)
    later.ahead_ms = 1000
    relay(gate)
    seen = gate.client.get(f"/v1/replays/{begun['id']}").json
    assert (seen["status"], seen["replayed"], seen["skipped"]) == ("completed", 1, 0)
    assert (gate.record(meant).status, gate.record(other).status) == (Status.QUEUED, Status.FAILED)
    assert gate.client.get(f"/v1/jobs/{meant}").json["replays"] == 1
    gate.parts.jobs.release(meant)
    gate.finish(meant, status=Status.FAILED, error=b'{"code":"worker_lost"}')
    letter = gate.client.get("/v1/dead-letters?code=worker_lost").json["data"][0]
    (former,) = letter["former_errors"]
    assert (letter["replays"], former["attempt"], former["code"]) == (1, 1, "model_error")
    assert former["at"]


def test_job_that_fails_again_is_not_replayed_again_by_the_same_replay(gate: Gate) -> None:
    later = Later(gate.parts.jobs)
    id = fail(gate)
    replay(gate, all=True, rate=1000)
    relay(gate, slices=1)
    later.ahead_ms = 5000
    gate.parts.jobs.release(id)
    gate.finish(id, status=Status.FAILED, error=b'{"code":"model_error"}')
    relay(gate)
    assert gate.record(id).status is Status.FAILED
    assert gate.record(id).replays == 1


def test_rate_is_kept_slice_by_slice(gate: Gate) -> None:
    later = Later(gate.parts.jobs)
    for _ in range(10):
        fail(gate)
    begun = replay(gate, model="echo", rate=8)
    done = []
    for _ in range(4):
        relay(gate)
        done.append(gate.client.get(f"/v1/replays/{begun['id']}").json["replayed"])
        later.ahead_ms += 260
    assert done == [2, 4, 6, 8]


def test_slice_that_was_cut_short_by_a_crash_is_done_again_and_nothing_twice(gate: Gate) -> None:
    ids = [fail(gate) for _ in range(3)]
    begun = replay(gate, model="echo")
    replayer = Replayer(gate.parts.dead_letters, gate.parts.jobs, Quotas(gate.store))

    class Crash(Exception):
        pass

    def crash(*_: object, **__: object) -> None:
        raise Crash

    advance, gate.parts.dead_letters.advance = gate.parts.dead_letters.advance, crash  # type: ignore[method-assign]
    (due,) = [due for due in gate.parts.jobs.due(limit=9) if due.member.startswith("replay:")]
    with pytest.raises(Crash):
        replayer.step(due, begun["id"])
    gate.parts.dead_letters.advance = advance  # type: ignore[method-assign]
    later = Later(gate.parts.jobs)
    relay(gate)
    later.ahead_ms = 1000
    relay(gate)
    seen = gate.client.get(f"/v1/replays/{begun['id']}").json
    assert (seen["status"], seen["replayed"], seen["skipped"]) == ("completed", 3, 0)
    assert [gate.record(id).replays for id in ids] == [1, 1, 1]


def test_named_letters_are_replayed_and_what_is_none_is_counted(gate: Gate) -> None:
    id, good = fail(gate), gate.submit()
    begun = replay(gate, ids=["job_none", good, id])
    later = Later(gate.parts.jobs)
    relay(gate)
    later.ahead_ms = 1000
    relay(gate)
    seen = gate.client.get(f"/v1/replays/{begun['id']}").json
    assert (seen["status"], seen["replayed"], seen["skipped"]) == ("completed", 1, 2)


def test_canceled_replay_goes_no_further(gate: Gate) -> None:
    for _ in range(3):
        fail(gate)
    begun = replay(gate, all=True, rate=1)
    relay(gate, slices=1)
    answer = gate.client.post(f"/v1/replays/{begun['id']}/cancel")
    assert (answer.json["status"], answer.json["replayed"]) == ("canceled", 1)
    later = Later(gate.parts.jobs)
    later.ahead_ms = 10_000
    relay(gate)
    assert len(listed(gate)) == 2


@pytest.mark.parametrize("wish", [{}, {"all": True, "model": "echo"}, {"ids": ["job_1"], "all": True}, {"rate": 0}])
def test_replay_of_nobody_knows_what_is_refused(gate: Gate, wish: dict[str, Any]) -> None:
    answer = gate.client.post("/v1/dead-letters:replay", json=wish)
    assert (answer.status_code, answer.json["code"]) == (422, "invalid_input")


@pytest.mark.parametrize(
    ("rate", "paced"), [(0.5, (1, 2000)), (1, (1, 1000)), (8, (2, 250)), (10_000, (500, 50)), (1e-308, (1, 3_600_000))]
)
def test_rate_is_a_slice_and_a_pause(rate: float, paced: tuple[int, int]) -> None:
    assert pace(rate) == paced


def test_refused_messages_are_the_admins_to_see_newest_first_and_once(gate: Gate) -> None:
    ticks = iter(range(1, 9))
    gate.parts.refused._now_ms = lambda: next(ticks)
    gate.parts.refused.note(b"not json", queue="cpu.echo.1.normal", reason="the message is not JSON")
    gate.parts.refused.note(b"\xff" * 5000, queue="cpu.echo.1.normal", reason="nor this")
    gate.parts.refused.note(b"not json", queue="cpu.echo.1.normal", reason="the message is not JSON")
    first, second = gate.client.get("/v1/refused-messages").json["data"]
    assert (first["begins"], first["bytes"], second["bytes"]) == ("not json", 8, 5000)
    assert second["begins"].startswith("\\xff\\xff")
    assert "penstock_refused_messages_total 3.0" in gate.client.get("/metrics").text


def test_replay_waits_while_its_tenant_has_as_many_jobs_as_it_may(gate: Gate) -> None:
    ids = [fail(gate) for _ in range(4)]
    Quotas(gate.store).set("local", Quota(max_in_flight=2))
    begun = replay(gate, all=True)
    later = Later(gate.parts.jobs)
    relay(gate)
    assert gate.client.get(f"/v1/replays/{begun['id']}").json["replayed"] == 2
    for id in ids[:2]:
        gate.parts.jobs.cancel(gate.record(id))
    later.ahead_ms = 1100
    relay(gate, slices=1)
    seen = gate.client.get(f"/v1/replays/{begun['id']}").json
    assert (seen["status"], seen["replayed"], seen["skipped"]) == ("running", 4, 0)


def test_third_replay_of_a_tenant_waits_until_another_has_ended(gate: Gate) -> None:
    fail(gate)
    first, second = (replay(gate, all=True, rate=1)["id"] for _ in range(2))
    refused = gate.client.post("/v1/dead-letters:replay", json={"all": True})
    assert (refused.status_code, refused.json["code"]) == (429, "quota_exceeded")
    assert "has 2 replays running" in refused.json["detail"]
    assert int(refused.headers["Retry-After"]) >= 1
    assert gate.client.post("/v1/dead-letters:replay", json={"all": True, "dry_run": True}).status_code == 200
    assert gate.client.post(f"/v1/replays/{first}/cancel").json["status"] == "canceled"
    third = replay(gate, all=True)["id"]
    assert {due.member for due in gate.parts.jobs.due(limit=99)} == {f"replay:{id}" for id in (second, third)}


def test_replay_that_was_lost_leaves_its_place(gate: Gate) -> None:
    for _ in range(2):
        gate.store.delete(keys.replay(replay(gate, all=True, rate=1)["id"]))
    assert replay(gate, all=True)["status"] == "running"


@pytest.mark.parametrize("rate", [1e-308, 0.0009, 0, -1])
def test_rate_that_is_none_is_refused(gate: Gate, rate: float) -> None:
    answer = gate.client.post("/v1/dead-letters:replay", json={"all": True, "rate": rate})
    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, "#/rate")
