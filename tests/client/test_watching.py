"""`penstock events` and `penstock top`: what happens, as it happens."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result
from penstock import JobEvent, NotFound, Penstock, Unreachable
from penstock.cli import cli
from penstock.cli.load import look

from tests.client.conftest import Clock
from tests.client.desk import Desk, job, problem

Run = Callable[..., Result]


@pytest.fixture
def run(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr("penstock.cli.session.RETRY_FOR_S", 0.0)
    return lambda *words: CliRunner().invoke(cli, ["--url", desk.url, *words])


def stream(*states: str, **fields: Any) -> bytes:
    """Server-sent events, with what else may stand in such a stream."""
    events = [
        f"id: 1-{state}\nevent: job\ndata: {json.dumps(job(state, **fields))}\n\n: still here\n\n" for state in states
    ]
    return ("retry: 1000\n\n" + "".join(events)).encode()


def told(events: Any) -> list[tuple[str, str]]:
    return [(event.id, event.job.status) for event in events]


def test_events_end_with_the_job(desk: Desk, client: Penstock) -> None:
    desk.say(stream("queued", "running", "succeeded"))
    events = list(client.jobs.events("job_01J"))
    assert told(events) == [("1-queued", "queued"), ("1-running", "running"), ("1-succeeded", "succeeded")]
    assert isinstance(events[0], JobEvent)
    assert len(desk.seen) == 1


def test_a_stream_that_breaks_off_goes_on_behind_the_last_event(desk: Desk, client: Penstock) -> None:
    desk.say(stream("queued", "running")).hang_up().say(b"", 503).say(stream("succeeded"))
    assert [status for _, status in told(client.jobs.events("job_01J"))] == ["queued", "running", "succeeded"]
    assert [seen.headers.get("last-event-id") for seen in desk.seen] == [None, "1-running", "1-running", "1-running"]


def test_a_job_that_ended_before_is_not_waited_for(desk: Desk, client: Penstock) -> None:
    desk.say(b"retry: 1000\n\n").say(job("succeeded"))
    assert list(client.jobs.events("job_01J", last_event_id="1-succeeded")) == []


def test_a_stream_without_news_is_opened_again(desk: Desk, client: Penstock, clock: Clock) -> None:
    desk.say(b"retry: 1000\n\n: still here\n\n").say(job("running")).say(stream("succeeded"))
    assert [status for _, status in told(client.jobs.events("job_01J"))] == ["succeeded"]
    assert clock.pauses == [1.0]


def test_an_unknown_job_has_no_events(desk: Desk, client: Penstock) -> None:
    desk.say(problem("not_found", 404), 404)
    with pytest.raises(NotFound):
        next(client.jobs.events("job_01J"))
    assert len(desk.seen) == 1


def test_patience_with_a_farm_that_is_away_has_an_end(desk: Desk, client: Penstock, clock: Clock) -> None:
    desk.say(stream("queued")).hang_up()
    events = client.jobs.events("job_01J")
    next(events)
    with pytest.raises(Unreachable):
        next(events)
    assert 60 < clock.now <= 121


@pytest.mark.parametrize(("state", "code"), [("succeeded", 0), ("failed", 1), ("canceled", 1)])
def test_followed_events_are_lines_and_the_end_an_exit_code(desk: Desk, run: Run, state: str, code: int) -> None:
    desk.say(stream("queued", "running", state))
    result = run("events", "job_01J", "--follow")
    assert result.exit_code == code
    assert [line.split()[1] for line in result.stdout.splitlines()] == ["queued", "running", state]
    assert "behind others, position 3" in result.stdout


def test_followed_events_in_json_are_a_line_each(desk: Desk, run: Run) -> None:
    desk.say(stream("queued", "succeeded"))
    lines = [json.loads(line) for line in run("events", "job_01J", "-f", "--json").stdout.splitlines()]
    assert [(line["id"], line["job"]["status"]) for line in lines] == [
        ("1-queued", "queued"),
        ("1-succeeded", "succeeded"),
    ]


def test_without_follow_the_job_is_told_as_it_is_now(desk: Desk, run: Run) -> None:
    desk.say(job("running"))
    result = run("events", "job_01J")
    assert (result.exit_code, result.stdout.split()[1:]) == (0, ["running"])


def queue(**fields: Any) -> dict[str, Any]:
    return {
        "model": "echo", "version": "1", "pool": "cpu", "waiting": 4, "lanes": {"high": 1, "normal": 3, "low": 0},
        "workers": 1, "executors": 2, "jobs_per_s": 8.0, "drain_s": 0.5,
    } | fields  # fmt: skip


def model(rows: int, batches: int, version: str = "1") -> dict[str, Any]:
    figures = {"rows": rows, "batches": batches, "mean_batch": rows / batches}
    return {"name": "echo", "version": version, "statistics": figures, "workers": [{"name": "w1"}]}


def farm(desk: Desk, *looks: tuple[int, int]) -> Desk:
    for rows, batches in looks:
        desk.say({"data": [queue(), queue(pool="gpu", waiting=0, lanes={}, drain_s=2.0)], "in_flight": {"jobs": 3}})
        desk.say({"data": [model(rows, batches)]})
    return desk


def test_rates_are_of_the_time_between_two_looks(desk: Desk, client: Penstock, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([10.0, 12.0])
    monkeypatch.setattr("penstock.cli.load.time.monotonic", lambda: next(times))
    farm(desk, (100, 10), (300, 20))
    first = look(client)
    second = look(client, first)
    [before], [now] = first.figures, second.figures
    assert (before.rows_per_s, before.mean_batch) == (None, 10.0)
    assert (now.rows_per_s, now.batches_per_s, now.mean_batch) == (100.0, 5.0, 20.0)
    assert (now.lanes, now.workers, now.executors, now.drain_s) == ({"high": 1, "normal": 3, "low": 0}, 2, 4, 2.0)


def test_another_version_is_asked_for_by_itself(desk: Desk, client: Penstock) -> None:
    desk.say({"data": [queue(), queue(version="2")]}).say({"data": [model(8, 2, "2")]}).say(model(4, 2))
    assert [(one.version, one.rows) for one in look(client).figures] == [("1", 4), ("2", 8)]
    assert desk.seen[2].path == "/v1/models/echo/versions/1"


def test_top_once_is_a_table_or_json(desk: Desk, run: Run) -> None:
    farm(desk, (100, 10), (300, 20), (300, 20), (316, 21))
    found = json.loads(run("top", "--once", "--json", "--interval", "0.2").stdout)
    assert (found["workers"], found["in_flight"], found["models"][0]["rows"]) == (["w1"], 3, 300)
    assert (found["models"][0]["waiting"], found["models"][0]["mean_batch"]) == (4, 20.0)
    assert found["models"][0]["rows_per_s"] > 0
    table = run("top", "--interval", "0.2").stdout
    assert table.splitlines()[1].split()[:6] == ["echo@1", "1", "3", "2", "4", "16"]


def test_top_of_a_farm_that_is_away_says_so(run: Run, desk: Desk) -> None:
    desk.hang_up()
    result = run("top", "--once")
    assert result.exit_code == 4
    assert result.stderr.startswith("Error: cannot reach")


@pytest.mark.parametrize("key", [b"q", b"\x03"])
def test_top_is_drawn_anew_until_it_is_left(desk: Desk, key: bytes) -> None:
    farm(desk, *[(100 + n, 10) for n in range(100)])
    ours, its = pty.openpty()
    environment = os.environ | {"PENSTOCK_URL": desk.url, "TERM": "xterm", "COLUMNS": "140", "LINES": "30"}
    command = [sys.executable, "-m", "penstock", "top", "--interval", "0.2"]
    # A session of its own, whose terminal is this one: Ctrl-C reaches it as from a keyboard.
    imports = "import os, fcntl, termios, sys"
    code = f"{imports}; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
    watching = subprocess.Popen(
        [sys.executable, "-c", code, *command], stdin=its, stdout=its, stderr=its, env=environment
    )
    os.close(its)
    try:
        desk.wait_for_requests(7)
        os.write(ours, key)
        shown = b""
        while b"\x1b[?1049l" not in shown:
            shown += os.read(ours, 65536)
        assert watching.wait(timeout=30) == 0
    finally:
        watching.kill()
        watching.wait()
        os.close(ours)
    assert b"echo@1" in shown
    assert b"1 workers" in shown
