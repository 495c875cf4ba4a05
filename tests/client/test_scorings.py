"""Scorings by SDK and command, against a server that says what a test tells it to."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd  # type: ignore[import-untyped]
import polars as pl
import pytest
from click.testing import CliRunner, Result
from penstock import AsyncPenstock, InvalidInput, JobCanceled, JobFailure, NotReady, Penstock, StillRunning
from penstock.cli import cli
from penstock.cli.following import Lines, span, told
from penstock.scoring import Scoring, ScoringRows

from tests.client.conftest import Clock
from tests.client.desk import Desk, problem

Run = Callable[..., Result]
STORED = {"id": "obj_1", "bytes": 3, "sha256": "00"}
ERROR = {"row": 7, "custom_id": "c7", "code": "invalid_input", "detail": "x is missing", "retryable": False}


def scoring(status: str = "running", **fields: Any) -> dict[str, Any]:
    """A scoring object as API.md shows it."""
    ended = status == "completed"
    return {
        "id": "scr_1", "object": "scoring", "model": "mlp", "version": "1", "status": status,
        "rows": {"total": 100, "done": 100 if ended else 40, "failed": 1}, "rate": 20.0,
        "eta_s": None if ended else 3.0, "progress": 1.0 if ended else 0.4, "round": 1,
        "input": {"objects": ["obj_1"], "parts": 1, "bytes": 3}, "format": "csv", "output_format": "csv",
        "output": {"object": "scr_1-output", "bytes": 9, "url": "…"} if ended else None,
        "errors": {"object": "scr_1-errors", "bytes": 9, "url": "…", "rows": 1} if ended else None,
        "error": None, "estimate": None, "dry_run": False, "metadata": {},
        "created_at": "2026-01-01T00:00:00.000Z", "completed_at": "2026-01-01T00:01:05.000Z" if ended else None,
    } | fields  # fmt: skip


@pytest.fixture
def run(desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.setattr("penstock.cli.session.RETRY_FOR_S", 0.0)
    monkeypatch.setattr("penstock.scorings.FIRST_LOOK_S", 0.0)
    monkeypatch.setattr("penstock.scorings.LATE", 0.0)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_text("x\n1\n")

    def run(*words: str) -> Result:
        result = CliRunner().invoke(cli, ["--url", desk.url, *words])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


# -- the SDK ------------------------------------------------------------------------------------------------------


def test_file_is_uploaded_and_scored_in_the_format_of_its_name(desk: Desk, client: Penstock, tmp_path: Path) -> None:
    (tmp_path / "rows.CSV").write_bytes(b"x\n1\n")
    desk.say(STORED, 201).say(scoring("queued"), 202)
    begun = client.scorings.create(
        "mlp", tmp_path / "rows.CSV", mapping={"x": ("a", "b"), "y": "c"}, keep=("k",), custom_id="id",
        max_failed_rows=0, webhook="https://erp.example/hook", output_format="parquet",
    )  # fmt: skip
    assert (begun.id, begun.status, begun.done, begun.rows.total) == ("scr_1", "queued", False, 100)
    assert (desk.seen[0].path, desk.seen[0].body) == ("/v1/objects", b"x\n1\n")
    assert desk.seen[1].headers["idempotency-key"]
    assert desk.seen[1].json() == {
        "model": "mlp", "input": {"object": "obj_1"}, "format": "csv", "output_format": "parquet",
        "mapping": {"x": ["a", "b"], "y": "c"}, "keep": ["k"], "custom_id": "id", "max_failed_rows": 0,
        "webhook": {"url": "https://erp.example/hook"}, "priority": "low",
    }  # fmt: skip


def test_folder_pattern_and_list_are_several_objects_in_order(desk: Desk, client: Penstock, tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl", "notes.txt", ".hidden"):
        (tmp_path / name).write_text(name)
    for given in (tmp_path, str(tmp_path / "*.jsonl"), [tmp_path / "a.jsonl", str(tmp_path / "b.jsonl")]):
        desk.seen.clear()
        desk.replies.clear()
        desk.say(STORED, 201).say(STORED | {"id": "obj_2"}, 201).say(scoring(), 202)
        client.scorings.create("mlp", given)
        assert [one.body for one in desk.seen[:2]] == [b"a.jsonl", b"b.jsonl"]
        asked = desk.seen[2].json()
        assert (asked["input"], asked["format"]) == ({"objects": ["obj_1", "obj_2"]}, "jsonl")


def test_compressed_file_is_of_the_format_within(desk: Desk, client: Penstock, tmp_path: Path) -> None:
    (tmp_path / "rows.csv.gz").write_bytes(b"...")
    desk.say(STORED, 201).say(scoring(), 202)
    client.scorings.create("mlp", tmp_path)
    assert desk.seen[1].json()["format"] == "csv"


def test_what_lies_elsewhere_is_not_uploaded(desk: Desk, client: Penstock) -> None:
    desk.say(scoring(), 202)
    given = ("s3://lake/rows-*.parquet", "obj_7", ["obj_7", "obj_8"])
    for one in given:
        client.scorings.create("mlp", one)
    assert [seen.json()["input"] for seen in desk.seen] == [
        "s3://lake/rows-*.parquet", {"object": "obj_7"}, {"objects": ["obj_7", "obj_8"]},
    ]  # fmt: skip


def test_rows_and_frames_are_written_and_uploaded(desk: Desk, client: Penstock) -> None:
    rows = [{"x": 1, "text": "ä"}, {"x": 2, "text": "b"}]
    tables = {
        "jsonl": [rows, iter(rows)],
        "parquet": [pd.DataFrame(rows), pl.DataFrame(rows)],
    }
    for format, given in tables.items():
        for table in given:
            desk.seen.clear()
            desk.replies.clear()
            desk.say(STORED, 201).say(scoring(), 202)
            client.scorings.create("mlp", table)
            assert desk.seen[1].json()["format"] == format
            if format == "jsonl":
                assert [json.loads(line) for line in desk.seen[0].body.splitlines()] == rows
            else:
                assert desk.seen[0].body[:4] == b"PAR1"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("nowhere.csv", "there is no file nowhere.csv"),
        ("none-*.csv", "no file matches"),
        (7, "cannot score a int"),
        ({"x": 1}, "cannot score a dict"),
        ([{"x": 1}, 2], "row 1 is a int"),
        ([{"x": float("nan")}], "row 0 is not expressible in JSON"),
    ],
)
def test_what_is_no_table_is_refused_before_anything_is_sent(client: Penstock, given: Any, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        client.scorings.create("mlp", given)


def test_files_of_several_formats_are_refused(client: Penstock, tmp_path: Path) -> None:
    for name in ("a.csv", "b.jsonl"):
        (tmp_path / name).write_text("x")
    with pytest.raises(InvalidInput, match="one format"):
        client.scorings.create("mlp", tmp_path)


def test_wait_tells_of_progress_until_the_end(desk: Desk, client: Penstock, clock: Clock) -> None:
    desk.say(scoring("validating"), Retry_After="1").say(scoring(), Retry_After="1").say(scoring("completed"))
    told: list[str] = []
    done = client.scorings.wait("scr_1", lambda one: told.append(one.status))
    assert told == ["validating", "running", "completed"]
    assert (done.done, done.rows.failed, done.errors and done.errors.rows) == (True, 1, 1)
    assert clock.pauses == [0.1, 0.1]


def test_long_wait_looks_as_often_as_the_gateway_says(desk: Desk, client: Penstock, clock: Clock) -> None:
    desk.say(scoring(), Retry_After="5")
    with pytest.raises(StillRunning, match="scr_1 is running after 120 s"):
        client.scorings.wait("scr_1", timeout_s=120)
    assert max(clock.pauses) == 5
    assert clock.now == pytest.approx(120)


def test_output_and_errors_are_fetched(desk: Desk, client: Penstock, tmp_path: Path) -> None:
    desk.say(scoring("completed")).say(b"y\n1\n").say(scoring("completed")).say(json.dumps(ERROR).encode() + b"\n")
    assert client.scorings.download("scr_1", tmp_path / "out.csv").read_bytes() == b"y\n1\n"
    (found,) = client.scorings.errors("scr_1")
    assert (found.row, found.custom_id, found.code, found.retryable) == (7, "c7", "invalid_input", False)
    assert [one.path for one in desk.seen][1::2] == ["/v1/objects/scr_1-output", "/v1/objects/scr_1-errors"]


def test_output_before_the_end_is_not_ready(desk: Desk, client: Penstock, tmp_path: Path) -> None:
    desk.say(scoring())
    with pytest.raises(NotReady, match="scr_1 is running: there is no output yet"):
        client.scorings.download("scr_1", tmp_path / "out.csv")
    assert not list(tmp_path.iterdir())


def test_no_failed_rows_are_no_errors(desk: Desk, client: Penstock) -> None:
    desk.say(scoring("completed", errors=None))
    assert list(client.scorings.errors("scr_1")) == []


def test_score_does_it_all(desk: Desk, client: Penstock, tmp_path: Path) -> None:
    desk.say(STORED, 201).say(scoring("queued"), 202).say(scoring("completed")).say(scoring("completed")).say(b"PAR1")
    done = client.scorings.score("mlp", [{"x": 1}], tmp_path / "out.parquet", keep=["x"])
    assert (done.status, (tmp_path / "out.parquet").read_bytes()) == ("completed", b"PAR1")
    assert desk.seen[1].json()["output_format"] == "parquet"


def test_failed_and_canceled_scorings_are_raised(desk: Desk, client: Penstock, tmp_path: Path) -> None:
    failed = scoring("failed", error=problem("input_changed", 409, "obj_1 was changed"))
    desk.say(scoring("queued"), 202).say(failed)
    with pytest.raises(JobFailure, match="was changed") as caught:
        client.scorings.score("mlp", "obj_1", tmp_path / "out.csv")
    assert (caught.value.job_id, caught.value.code) == ("scr_1", "input_changed")
    with pytest.raises(JobCanceled, match="canceled after 40 rows"):
        Scoring.parse(scoring("canceled")).raise_for_failure()


def test_list_cancel_retry_and_delete_ask_for_what_they_say(desk: Desk, client: Penstock) -> None:
    desk.say({"data": [scoring()], "next_cursor": "scr_1"}).say({"data": [scoring()], "next_cursor": None})
    assert len(list(client.scorings.list(status="running", model="mlp", page_size=1))) == 2
    assert desk.seen[1].query == {"limit": "1", "status": "running", "model": "mlp", "cursor": "scr_1"}
    desk.replies.clear()
    desk.say(scoring("canceling"))
    assert client.scorings.cancel("scr_1").status == "canceling"
    client.scorings.retry_failed("scr_1")
    client.scorings.delete("scr_1")
    assert [(one.method, one.path) for one in desk.seen[2:]] == [
        ("POST", "/v1/scorings/scr_1/cancel"), ("POST", "/v1/scorings/scr_1/retry-failed"),
        ("DELETE", "/v1/scorings/scr_1"),
    ]  # fmt: skip


def test_asynchronous_twin_does_it_all(desk: Desk, tmp_path: Path) -> None:
    desk.say(STORED, 201).say(scoring("queued"), 202).say(scoring("completed")).say(scoring("completed")).say(b"y\n")

    async def score() -> Scoring:
        async with AsyncPenstock(desk.url) as client:
            return await client.scorings.score("mlp", [{"x": 1}], tmp_path / "out.csv")

    assert asyncio.run(score()).done
    assert (tmp_path / "out.csv").read_bytes() == b"y\n"


# -- the command --------------------------------------------------------------------------------------------------


def test_score_uploads_follows_and_fetches(desk: Desk, run: Run, tmp_path: Path) -> None:
    desk.say(STORED, 201).say(scoring("queued"), 202).say(scoring()).say(scoring("completed"))
    desk.say(json.dumps(ERROR).encode()).say(b"PAR1out")
    words = "score mlp rows.csv -o out.parquet --map x=a,b --map y=c --keep k,l --errors errors.jsonl -p top=2"
    result = run(*words.split(), "--map", 'z=["d,e"]')
    assert result.exit_code == 0, result.output
    asked = desk.seen[1].json()
    assert asked["mapping"] == {"x": ["a", "b"], "y": "c", "z": ["d,e"]}
    assert (asked["keep"], asked["parameters"]) == (["k", "l"], {"top": 2})
    assert (asked["format"], asked["output_format"]) == ("csv", "parquet")
    assert (tmp_path / "out.parquet").read_bytes() == b"PAR1out"
    assert json.loads((tmp_path / "errors.jsonl").read_text())["row"] == 7
    assert "scr_1 running 40 of 100 rows, 20/s, 3 s left, 1 failed" in result.stderr
    assert "1 min 5 s" in result.stdout


def test_score_without_a_place_for_the_output_is_a_usage_error(run: Run) -> None:
    result = run("score", "mlp", "rows.csv")
    assert (result.exit_code, "-o out.parquet" in result.stderr) == (2, True)
    nowhere = run("score", "mlp", "rows.csv", "-o", "not/there/out.csv")
    assert (nowhere.exit_code, "folder not/there is not there" in nowhere.stderr) == (2, True)


def test_score_no_wait_leaves_at_once(desk: Desk, run: Run) -> None:
    desk.say(STORED, 201).say(scoring("queued"), 202).say(STORED, 201).say(scoring("queued"), 202)
    result = run("score", "mlp", "rows.csv", "--no-wait", "--json")
    assert (result.exit_code, json.loads(result.stdout)["id"], len(desk.seen)) == (0, "scr_1", 2)
    assert run("score", "mlp", "rows.csv", "--no-wait").stdout == "scr_1\n"


def test_dry_run_shows_the_estimate(desk: Desk, run: Run) -> None:
    found = {"rows": 1000, "shards": 4, "bytes": 5000, "seconds": 75.0}
    done = scoring("completed", estimate=found, output=None, errors=None, dry_run=True)
    desk.say(scoring("queued"), 202).say(done)
    result = run("score", "mlp", "s3://lake/rows.parquet", "--dry-run")
    assert desk.seen[0].json() == {
        "model": "mlp", "input": "s3://lake/rows.parquet", "dry_run": True, "priority": "low",
    }  # fmt: skip
    assert "1,000 rows, 4 shards" in result.stdout
    assert "about 1 min 15 s" in result.stdout


def test_failed_scoring_leaves_with_1_and_fetches_what_there_is(desk: Desk, run: Run, tmp_path: Path) -> None:
    failed = scoring("completed") | {"status": "failed", "error": problem("too_many_failed_rows", 422, "2 rows failed")}
    desk.say(scoring("queued"), 202).say(failed).say(b"y\n1\n")
    result = run("score", "mlp", "obj_1", "-o", "out.csv", "--max-failed-rows", "1")
    assert (result.exit_code, (tmp_path / "out.csv").read_bytes()) == (1, b"y\n1\n")
    assert "scr_1: 2 rows failed (too_many_failed_rows)" in result.stderr


def test_refusal_leaves_with_3_and_names_the_place(desk: Desk, run: Run) -> None:
    fault = {"pointer": "#/mapping/xx", "detail": "'xx' is no input of the model; did you mean x?"}
    desk.say(STORED, 201).say(problem("invalid_input", 422, f"#/mapping/xx {fault['detail']}", errors=[fault]), 422)
    result = run("score", "mlp", "rows.csv", "-o", "out.csv", "--map", "xx=a")
    assert (result.exit_code, "did you mean x?" in result.stderr) == (3, True)


def test_attach_comes_back_and_fetches(desk: Desk, run: Run, tmp_path: Path) -> None:
    desk.say(scoring()).say(scoring("completed")).say(b"y\n1\n")
    result = run("scorings", "attach", "scr_1", "-o", "out.csv")
    assert (result.exit_code, (tmp_path / "out.csv").read_bytes()) == (0, b"y\n1\n")


def test_get_list_cancel_and_retry(desk: Desk, run: Run) -> None:
    desk.say(scoring("completed"))
    assert "scr_1-output (9 bytes)" in run("scorings", "get", "scr_1").stdout
    desk.replies.clear()
    desk.say({"data": [scoring()], "next_cursor": None})
    assert "40 of 100 rows" in run("scorings", "list", "--status", "running").stdout
    desk.replies.clear()
    desk.say(scoring("canceling"))
    assert "canceling" in run("scorings", "cancel", "scr_1").stdout
    desk.replies.clear()
    desk.say(scoring("queued", round=2), 202).say(scoring("completed", round=2))
    again = run("scorings", "retry-failed", "scr_1")
    assert (again.exit_code, "completed" in again.stdout) == (0, True)


def test_ctrl_c_leaves_the_run_going_and_says_how_to_come_back(desk: Desk, tmp_path: Path) -> None:
    desk.say(scoring("queued"), 202).say(scoring(), Retry_After="30")
    words = [sys.executable, "-m", "penstock", "--url", desk.url, "score", "mlp", "obj_1", "-o", "out.csv"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    desk.wait_for_requests(2)
    os.kill(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "`penstock scorings attach scr_1` comes back to it" in told
    assert "Traceback" not in told
    assert [one.method for one in desk.seen if one.method != "GET"] == ["POST"]


def test_scoring_that_nobody_runs_says_why() -> None:
    assert told(Scoring("scr_1", "running", waiting_reason="no_worker")) == "waits: no worker"
    assert told(Scoring("scr_1", "running")) == ""


def test_lines_are_few(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    lines = Lines(clock)
    for _ in range(100):
        clock.sleep(0.5)
        lines(Scoring("scr_1", "running", rows=ScoringRows(100, 5)))
    assert len(capsys.readouterr().err.splitlines()) == 5


def test_spans_are_written_for_people() -> None:
    assert [span(seconds) for seconds in (0.2, 59, 200, 7500)] == ["0 s", "59 s", "3 min 20 s", "2 h 5 min"]
