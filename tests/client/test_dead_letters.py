"""Dead letters and queues by SDK and command, against a server that says what a test tells it to."""

from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result
from penstock import Penstock, StillRunning
from penstock.cli import cli

from tests.client.conftest import Clock
from tests.client.desk import Desk, problem

Run = Callable[..., Result]


def letter(id: str = "job_1", **fields: Any) -> dict[str, Any]:
    return {
        "id": id, "object": "dead_letter", "model": "echo", "version": "1", "code": "model_error",
        "error": problem("model_error", 500, "it broke"), "attempt": 3, "failures": 3, "worker_losses": 0,
        "interruptions": 0, "replays": 1, "former_errors": [{"attempt": 2, "code": "timed_out", "at": None}],
        "metadata": {}, "created_at": "2026-01-01T00:00:00.000Z", "failed_at": "2026-01-01T00:00:01.000Z",
    } | fields  # fmt: skip


def replay(status: str = "running", **fields: Any) -> dict[str, Any]:
    return {
        "id": "rpl_1", "object": "replay", "status": status, "rate": 5.0, "replayed": 0, "skipped": 0,
        "created_at": "2026-01-01T00:00:00.000Z", "completed_at": None, "url": "/v1/replays/rpl_1",
    } | fields  # fmt: skip


@pytest.fixture
def run(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr("penstock.cli.session.RETRY_FOR_S", 0.0)
    monkeypatch.setattr("penstock.dead_letters.LOOK_S", 0.0)

    def run(*words: str) -> Result:
        result = CliRunner().invoke(cli, ["--url", desk.url, *words])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


def test_letters_come_page_by_page_with_what_they_went_through(desk: Desk, client: Penstock) -> None:
    desk.say({"data": [letter("job_2")], "next_cursor": "5-job_2"}).say(
        {"data": [letter("job_1")], "next_cursor": None}
    )
    found = list(client.dead_letters.list(model="echo", code="model_error", metadata={"order": "A"}, page_size=1))
    assert [one.id for one in found] == ["job_2", "job_1"]
    assert (found[0].former_errors[0].code, found[0].replays) == ("timed_out", 1)
    assert found[0].error is not None
    assert found[0].error.detail == "it broke"
    assert desk.seen[0].query == {"limit": "1", "model": "echo", "code": "model_error", "metadata.order": "A"}
    assert desk.seen[1].query["cursor"] == "5-job_2"


def test_plan_changes_nothing_and_replay_says_what_it_is_about(desk: Desk, client: Penstock) -> None:
    desk.say({"object": "replay_plan", "matched": 7, "complete": True, "sample": [letter()]}).say(replay(), 202)
    plan = client.dead_letters.plan(code="timed_out")
    assert (plan.matched, [one.id for one in plan.sample]) == (7, ["job_1"])
    assert desk.seen[0].json() == {"code": "timed_out", "dry_run": True}
    begun = client.dead_letters.replay(ids=["job_1"], rate=5)
    assert (begun.id, begun.done) == ("rpl_1", False)
    assert desk.seen[1].json() == {"ids": ["job_1"], "rate": 5}


def test_replay_is_waited_for(desk: Desk, client: Penstock, clock: Clock) -> None:
    desk.say(replay(replayed=2)).say(replay("completed", replayed=9, skipped=1))
    done = client.dead_letters.wait("rpl_1")
    assert (done.status, done.replayed, done.skipped) == ("completed", 9, 1)
    assert clock.pauses == [0.5]
    desk.replies.clear()
    desk.say(replay())
    with pytest.raises(StillRunning):
        client.dead_letters.wait("rpl_1", timeout_s=1)


def test_replay_command_follows_the_replay_to_its_end(desk: Desk, run: Run) -> None:
    desk.say(replay(), 202).say(replay(replayed=3)).say(replay("completed", replayed=8, skipped=2))
    result = run("dead-letters", "replay", "--model", "echo", "--since", "2026-01-01T00:00:00Z", "--rate", "5")
    assert result.exit_code == 0
    assert "8 queued again, 2 could not be" in result.stdout
    sent = desk.seen[0].json()
    assert (sent["model"], sent["rate"]) == ("echo", 5)
    assert sent["since"].startswith(("2026-01-01", "2025-12-31"))


def test_dry_run_says_how_many_and_shows_some(desk: Desk, run: Run) -> None:
    desk.say({"object": "replay_plan", "matched": 7, "complete": False, "sample": [letter()]})
    result = run("dead-letters", "replay", "--all", "--dry-run")
    assert "at least 7 would run again" in result.stderr
    assert "job_1" in result.stdout
    assert desk.seen[0].json() == {"all": True, "dry_run": True}


def test_list_command_shows_code_and_error(desk: Desk, run: Run) -> None:
    desk.say({"data": [letter()], "next_cursor": None})
    result = run("dead-letters", "list", "--since", "2h")
    assert "model_error" in result.stdout
    assert "it broke" in result.stdout
    assert "since" in desk.seen[0].query


@pytest.mark.parametrize("when", ["yesterday", "2w", "h"])
def test_time_that_is_none_is_refused_before_anything_is_asked(desk: Desk, run: Run, when: str) -> None:
    result = run("dead-letters", "list", "--since", when)
    assert (result.exit_code, desk.seen) == (2, [])
    assert "must be 90s, 30m" in result.stderr


def test_refused_messages_are_listed(desk: Desk, run: Run) -> None:
    one = {"queue": "q", "reason": "not JSON", "bytes": 3, "sha256": "x", "begins": "abc", "refused_at": "2026"}
    desk.say({"data": [one]})
    assert "not JSON" in run("dead-letters", "refused").stdout


def test_queues_are_a_table_and_json(desk: Desk, run: Run, client: Penstock) -> None:
    one = {
        "model": "echo", "version": "1", "pool": "cpu", "waiting": 12, "lanes": {"high": 0, "normal": 12, "low": 0},
        "workers": 1, "executors": 2, "jobs_per_s": 4.0, "drain_s": 3.0,
    }  # fmt: skip
    answer = {"object": "list", "data": [one], "in_flight": {"jobs": 12, "limit": 50}}
    desk.say(answer)
    result = run("queues")
    assert "echo@1" in result.stdout
    assert "3 s" in result.stdout
    assert "yours: 12 of 50 queued or running" in result.stderr
    assert '"drain_s": 3.0' in run("queues", "--json").stdout
    found = client.queues()
    assert (found.queues[0].lanes["normal"], found.in_flight, found.in_flight_limit) == (12, 12, 50)
