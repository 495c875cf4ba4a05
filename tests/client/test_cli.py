import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from penstock.cli import CLIENT, OPERATOR, cli
from penstock.cli import dead_letters as letters_cli
from penstock.cli import models as models_cli
from penstock.cli import webhooks as webhooks_cli

from commands import operator
from tests.client.desk import Desk, job, problem

Run = Callable[..., Result]


@pytest.fixture
def run(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `penstock …` against the desk."""
    monkeypatch.setattr("penstock.cli.session.RETRY_FOR_S", 0.0)

    def run(*words: str, **options: Any) -> Result:
        result = CliRunner().invoke(cli, ["--url", desk.url, *words], **options)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


def test_submit_prints_the_id_alone(desk: Desk, run: Run) -> None:
    desk.say(job(), 202)
    result = run("submit", "minilm", "-i", 'text=["a", "b"]', "-i", "n=3", "-p", "top=2", "--metadata", "order=17")
    assert (result.exit_code, result.stdout) == (0, "job_01J\n")
    assert desk.seen[0].json() == {
        "model": "minilm",
        "inputs": {"text": ["a", "b"], "n": 3},
        "parameters": {"top": 2},
        "metadata": {"order": "17"},
    }


def test_submit_sends_every_option_under_its_name(desk: Desk, run: Run) -> None:
    desk.say(job(), 202)
    words = "submit m -i x=1 --version 2 --priority high --timeout 5 --queue-ttl 6 --max-attempts 2 --result-ttl 60"
    run(*words.split(), "--webhook", "https://erp.example", "--idempotency-key", "k")
    assert desk.seen[0].headers["idempotency-key"] == "k"
    assert desk.seen[0].json() == {
        "model": "m",
        "inputs": {"x": 1},
        "version": "2",
        "priority": "high",
        "timeout_s": 5,
        "queue_ttl_s": 6,
        "max_attempts": 2,
        "result_ttl_s": 60,
        "webhook": {"url": "https://erp.example"},
    }


def test_a_file_goes_as_its_bytes(desk: Desk, run: Run, tmp_path: Path) -> None:
    (tmp_path / "page.png").write_bytes(b"abc")
    desk.say(job(), 202)
    run("submit", "ocr", "-i", f"image=@{tmp_path}/page.png")
    assert desk.seen[0].json()["inputs"] == {"image": {"b64": "YWJj"}}


def test_a_body_is_taken_whole_and_options_go_over_it(desk: Desk, run: Run) -> None:
    desk.say(job(), 202)
    body = {"model": "m", "inputs": {"x": 1, "y": 2}, "priority": "low", "novelty": 1}
    run("submit", "--body", "@-", "-i", "x=5", "--priority", "high", input=json.dumps(body))
    assert desk.seen[0].json() == {**body, "inputs": {"x": 5, "y": 2}, "priority": "high"}


def test_submit_and_wait_shows_the_outputs(desk: Desk, run: Run) -> None:
    desk.say(job(), 202).say(job("succeeded"))
    result = run("submit", "echo", "-i", "x=1", "--wait")
    assert result.exit_code == 0
    assert "outputs.x  [1, 2]" in result.stdout
    assert "7 ms on cpu:0, batch of 4" in result.stdout
    assert "\x1b" not in result.stdout


def test_submit_and_wait_in_json_has_large_outputs_too(desk: Desk, run: Run) -> None:
    desk.say(job("succeeded", outputs=None), 200).say({"x": [3]})
    result = run("submit", "echo", "-i", "x=1", "--wait", "10", "--json")
    assert json.loads(result.stdout)["outputs"] == {"x": [3]}


def test_outputs_are_saved_as_json_or_as_bytes(desk: Desk, run: Run, tmp_path: Path) -> None:
    desk.say(job("succeeded", outputs={"image": [{"b64": "YWJj"}]}))
    run("submit", "echo", "-i", "x=1", "-o", f"{tmp_path}/out.png")
    run("get", "job_01J", "-o", f"{tmp_path}/out.json")
    assert (tmp_path / "out.png").read_bytes() == b"abc"
    assert json.loads((tmp_path / "out.json").read_text()) == {"image": [{"b64": "YWJj"}]}


@pytest.mark.parametrize(
    ("answer", "words", "code"),
    [
        (job("failed", error=problem("model_error", 500, "boom")), "get job_01J", 1),
        (job("canceled"), "get job_01J --wait", 1),
        (job("expired"), "submit echo -i x=1 --wait", 1),
        (job("failed", error=problem("model_error", 500, "boom")), "get job_01J --result", 1),
        (job("running"), "get job_01J", 0),
        (job("running"), "get job_01J --wait 0.01", 5),
        (job("running"), "submit echo -i x=1 --wait=0", 5),
    ],
)
def test_the_exit_code_tells_how_a_job_stands(
    desk: Desk, run: Run, answer: dict[str, Any], words: str, code: int
) -> None:
    desk.say(answer)
    assert run(*words.split()).exit_code == code


@pytest.mark.parametrize(
    ("code", "status", "exit_code"),
    [("unknown_model", 404, 3), ("queue_full", 429, 3), ("store_unavailable", 503, 4), ("internal_error", 500, 4)],
)
def test_a_refusal_is_one_line_and_an_exit_code(desk: Desk, run: Run, code: str, status: int, exit_code: int) -> None:
    desk.say(problem(code, status, "it is so"), status)
    result = run("models", "show", "x")
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert result.stderr.startswith("Error: it is so")
    assert result.stderr.count("\n") == 1


def test_a_refusal_in_json_is_the_problem_document(desk: Desk, run: Run) -> None:
    desk.say(problem("unknown_model", 404, "no model 'x'"), 404)
    result = run("models", "show", "x", "--json")
    assert json.loads(result.stderr)["code"] == "unknown_model"


def test_each_fault_of_an_input_is_named(desk: Desk, run: Run) -> None:
    faults = [{"pointer": "#/inputs/x", "detail": "not declared"}, {"pointer": "#/inputs/y", "detail": "missing"}]
    desk.say(problem("invalid_input", 422, "two faults", errors=faults), 422)
    result = run("submit", "m", "-i", "x=1")
    assert result.stderr == "Error: two faults [#/inputs/x: not declared] [#/inputs/y: missing]\n"


def test_a_farm_that_is_not_there_is_told_with_what_to_do() -> None:
    result = CliRunner().invoke(cli, ["--url", "http://127.0.0.1:9", "get", "job_1"])
    assert result.exit_code == 4
    assert result.stderr == (
        "Error: cannot reach http://127.0.0.1:9 (connection refused): is the farm running? `make run` starts one\n"
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["submit", "m"], "give -i NAME=VALUE"),
        (["submit", "-i", "x=1"], "name a MODEL"),
        (["submit", "m", "-i", "x"], "not of the form name=value"),
        (["submit", "m", "-i", "x=@/nowhere/x.png"], "x: cannot read /nowhere/x.png (no such file or directory)"),
        (["submit", "--wait", "m", "-i", "x=1"], "bare --wait at the end"),
        (["submit", "--body", "[]"], "must be a JSON object"),
        (["sumbit"], "did you mean 'submit'?"),
        (["completion", "tcsh"], "tcsh"),
    ],
)
def test_a_wrong_command_line_says_what_is_wrong(run: Run, words: list[str], told: str) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert told in result.stderr


def test_an_address_without_a_scheme_is_a_wrong_command_line() -> None:
    result = CliRunner().invoke(cli, ["--url", "localhost:8080", "jobs"])
    assert result.exit_code == 2
    assert "http://" in result.stderr


def test_jobs_are_a_table_or_json(desk: Desk, run: Run) -> None:
    desk.say({"data": [job("succeeded"), job(id="job_2"), job(id="job_3")], "next_cursor": "more"})
    table = run("jobs", "--limit", "2", "--status", "queued", "--model", "echo", "--metadata", "order=17").stdout
    assert desk.seen[0].query == {"limit": "2", "status": "queued", "model": "echo", "metadata.order": "17"}
    assert [line.split()[0] for line in table.splitlines()] == ["ID", "job_01J", "job_2"]
    assert [row["id"] for row in json.loads(run("jobs", "--limit", "1", "--json").stdout)] == ["job_01J"]


def test_all_jobs_are_all_pages(desk: Desk, run: Run) -> None:
    desk.say({"data": [job(id="a")], "next_cursor": "c"}).say({"data": [job(id="b")]})
    assert [row["id"] for row in json.loads(run("jobs", "--all", "--json").stdout)] == ["a", "b"]


def test_cancel_takes_several_and_retry_one(desk: Desk, run: Run) -> None:
    desk.say(job("canceled"))
    assert run("cancel", "a", "b").stdout.count("canceled") == 2
    assert [seen.path for seen in desk.seen] == ["/v1/jobs/a/cancel", "/v1/jobs/b/cancel"]
    assert json.loads(run("retry", "a", "--json").stdout)["status"] == "canceled"


def test_models_are_shown_with_their_signature(desk: Desk, run: Run) -> None:
    tensors = [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
    row = {
        "name": "minilm",
        "version": "1",
        "versions": ["1"],
        "inputs": tensors,
        "pools": ["cpu"],
        "labels": {"a": 1},
        "state": "failed",
        "reason": "no file",
    }
    desk.say({"data": [row]}).say(row)
    listed = run("models", "list").stdout
    assert "text BYTES [-1]" in listed
    assert "failed: no file" in listed
    shown = run("models", "show", "minilm").stdout
    assert "inputs.text  BYTES [-1]" in shown
    assert "labels" in shown


VERSIONS = [
    {"version": "1", "state": "ready", "labels": ["stable"], "share": 0.9},
    {"version": "2", "state": "failed", "reason": "its example fails", "labels": [], "share": 0.0},
    {"version": "0", "state": "not_loaded"},
]


def test_versions_are_shown_with_state_labels_share_and_reason(desk: Desk, run: Run) -> None:
    row = {"name": "minilm", "version": "1", "versions": ["1", "2"], "state": "ready", "version_states": VERSIONS}
    desk.say({"data": [row]}).say(row)
    listed = run("models", "list").stdout
    assert "1 ready (stable, 90% of the jobs)" in listed
    assert "not_loaded" not in listed
    shown = run("models", "show", "minilm").stdout
    assert "failed: its example fails" in next(line for line in shown.splitlines() if "versions.2" in line)


@pytest.mark.parametrize(
    ("command", "method", "path", "body"),
    [
        (("load", "m", "2"), "POST", "/versions/2/load", None),
        (("unload", "m", "2"), "POST", "/versions/2/unload", None),
        (("label", "m", "canary", "2"), "PUT", "/labels/canary", {"version": "2"}),
        (("label", "m", "canary", "--delete"), "DELETE", "/labels/canary", None),
        (("traffic", "m", "1=90", "canary=10"), "PUT", "/traffic", {"1": 90, "canary": 10}),
        (("traffic", "m", "--clear"), "PUT", "/traffic", {}),
        (("promote", "m", "canary"), "POST", "/promote", {"version": "canary"}),
        (("rollback", "m"), "POST", "/rollback", None),
    ],
)
def test_operator_changes_versions(
    desk: Desk, run: Run, command: tuple[str, ...], method: str, path: str, body: object
) -> None:
    desk.say({"name": "m", "version": "1", "version_states": VERSIONS})
    assert "ready (stable, 90% of the jobs)" in run("models", *command).stdout
    (seen,) = desk.seen
    assert (seen.method, seen.path) == (method, "/v1/models/m" + path)
    assert (seen.json() if seen.body else None) == body


@pytest.mark.parametrize(("state", "code"), [("ready", 0), ("failed", 1)])
def test_load_can_wait_until_the_version_is_ready_or_has_failed(desk: Desk, run: Run, state: str, code: int) -> None:
    desk.say({"name": "m", "version": "2", "state": "loading"}).say({"name": "m", "version": "2", "state": state})
    assert run("models", "load", "m", "2", "--wait", "5").exit_code == code
    assert [seen.method for seen in desk.seen] == ["POST", "GET"]


def test_load_gives_up_waiting(desk: Desk, run: Run) -> None:
    desk.say({"name": "m", "version": "2", "state": "loading"})
    assert run("models", "load", "m", "2", "--wait", "0").exit_code == 5


@pytest.mark.parametrize("command", [("traffic", "m"), ("traffic", "m", "1:90"), ("label", "m", "canary")])
def test_wishes_that_cannot_be_meant_are_wrong_usage(desk: Desk, run: Run, command: tuple[str, ...]) -> None:
    assert run("models", *command).exit_code == 2
    assert not desk.seen


def test_upload_prints_ids(desk: Desk, run: Run, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    desk.say({"id": "obj_1", "bytes": 3, "sha256": "f00"})
    assert run("upload", f"{tmp_path}/a").stdout == "obj_1\n"
    assert json.loads(run("upload", f"{tmp_path}/a", "--json").stdout)["bytes"] == 3


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_completion_prints_the_shells_script(run: Run, shell: str) -> None:
    assert "_PENSTOCK_COMPLETE" in run("completion", shell).stdout


def test_completing_a_command_imports_none() -> None:
    code = "import sys; from penstock.cli import cli; import click;"
    code += "print([item.value for item in cli.shell_complete(click.Context(cli), 'c')], 'rich' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['cancel', 'completion', 'config'] False\n"


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("penstock su", "plain,submit\n"),
        ("penstock submit --pri", "plain,--priority\n"),
        ("penstock models sh", "plain,show\n"),
        ("penstock submit mini", "plain,minilm\n"),
        ("penstock sumbit ", None),
        ("penstock up --", None),
    ],
)
def test_the_shell_completes_and_never_shows_an_error(
    desk: Desk, tmp_path: Path, typed: str, found: str | None
) -> None:
    desk.say({"data": [{"name": "minilm"}, {"name": "ocr"}]})
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" ")), "_PENSTOCK_COMPLETE": "bash_complete"}
    env = words | {"PENSTOCK_URL": desk.url, "PENSTOCK_HOME": str(tmp_path)}
    # The name under which it runs makes the variable's: `_PENSTOCK_COMPLETE`.
    code = "from penstock.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert found is None or done.stdout == found


def test_help_shows_both_kinds_of_commands_and_the_exit_codes(run: Run) -> None:
    text = run("--help").stdout
    for part in ("Commands:", "Operator commands", "up ", "submit ", "130  interrupted"):
        assert part in text


def test_the_listed_help_is_that_of_the_commands() -> None:
    tables = (CLIENT, models_cli.CLIENT, webhooks_cli.CLIENT, letters_cli.CLIENT, OPERATOR, models_cli.OPERATOR)
    for entry in (entry for table in tables for entry in table.values()):
        assert entry.load().get_short_help_str(200) == entry.help


def test_every_operator_command_is_listed() -> None:
    assert set(operator.commands) - {"models"} == set(OPERATOR)
    models = operator.commands["models"]
    assert isinstance(models, click.Group)
    assert set(models.commands) == set(models_cli.OPERATOR)


#: Groups, and what is used so seldom that its arguments say it all.
WITHOUT_EXAMPLES = {"models", "webhook", "dead-letters", "scorings"}


@pytest.mark.parametrize("name", sorted(set(CLIENT) - WITHOUT_EXAMPLES))
def test_every_command_has_examples_json_and_a_word_for_what_it_does(name: str) -> None:
    told = CliRunner().invoke(cli, [name, "--help"]).stdout
    assert f"  penstock {name} " in told or f"  penstock {name}\n" in told or f"$(penstock {name}" in told
    assert "--json" in told or name == "completion"
