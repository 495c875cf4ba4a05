"""`penstock score` as users type it, against a whole farm: from a file to a file, broken off, and come back to."""

import csv
import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from storage.s3 import S3
from storage.s3server import parse
from storage.webhooks import Endpoints
from tests.farm.harness import Farm
from tests.farm.test_webhooks import tenant
from tests.receiver import receiving

Command = Callable[..., "subprocess.Popen[str]"]
#: Longer than any of these runs takes on a machine that does other work, seconds.
PATIENCE_S = 60


@pytest.fixture
def command(farm: Farm, tmp_path: Path) -> Command:
    """Starts `penstock …` in a folder of its own."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    env |= {"PENSTOCK_URL": farm.url} | ({"PENSTOCK_API_KEY": farm.key} if farm.key else {})

    def start(*words: str) -> "subprocess.Popen[str]":
        typed = [sys.executable, "-m", "penstock", *words]
        return subprocess.Popen(typed, env=env, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return start


def done(process: "subprocess.Popen[str]", code: int = 0) -> tuple[str, str]:
    out, told = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == code, told + out
    assert "Traceback" not in told
    return out, told


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(path: Path, found: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(one) + "\n" for one in found))


def test_table_comes_back_in_its_order_and_failed_rows_apart(command: Command, tmp_path: Path) -> None:
    verbs = ["raise" if number in (7, 30) else f"row {number}" for number in range(50)]
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["custom_id", "verb", "site"])
        table.writerows([f"c{number}", verb, f"s{number % 3}"] for number, verb in enumerate(verbs))
    words = "score trouble rows.csv -o out.jsonl --map do=verb --keep site --errors errors.jsonl --json"
    out, told = done(command(*words.split()))
    shown = json.loads(out)
    assert (shown["status"], shown["rows"]) == ("completed", {"total": 50, "done": 50, "failed": 2})
    assert f"{shown['id']} " in told
    good = [number for number in range(50) if number not in (7, 30)]
    found = rows(tmp_path / "out.jsonl")
    assert [one["custom_id"] for one in found] == [f"c{number}" for number in good]
    assert [one["did"] for one in found] == [f"row {number}" for number in good]
    assert [one["site"] for one in found] == [f"s{number % 3}" for number in good]
    errors = rows(tmp_path / "errors.jsonl")
    assert [(one["row"], one["custom_id"], one["code"]) for one in errors] == [
        (7, "c7", "model_error"), (30, "c30", "model_error"),
    ]  # fmt: skip


def test_parquet_to_parquet_by_folder(command: Command, tmp_path: Path) -> None:
    import polars as pl

    (tmp_path / "days").mkdir()
    for day in range(3):
        frame = pl.DataFrame({f"v{column}": [float(day * 100 + row) for row in range(100)] for column in range(16)})
        frame.with_columns(day=pl.lit(day)).write_parquet(tmp_path / "days" / f"{day}.parquet")
    columns = ",".join(f"v{column}" for column in range(16))
    done(command("score", "echo", "days", "-o", "out.parquet", "--map", f"x={columns}", "--keep", "day"))
    out = pl.read_parquet(tmp_path / "out.parquet")
    assert out["y"].to_list() == [[float(number)] * 16 for number in range(300)]
    assert out["day"].to_list() == [number // 100 for number in range(300)]


def test_opened_bucket_is_read_where_it_lies(farm: Farm, command: Command, tmp_path: Path) -> None:
    words = ("score", "trouble", "s3://lake/open/*.csv", "-o", "out.csv")
    if farm.settings.objects.startswith("file://"):
        assert "upload the file instead" in done(command(*words), 3)[1]
        return
    lake = S3(dataclasses.replace(parse(farm.settings.objects), bucket="lake"))
    for name in ("open/1", "open/2", "open/old/0", "shut/3"):
        lake.put(f"{name}.csv", [f"do,custom_id\nrow,{name}\n".encode()])
    done(command(*words))
    with (tmp_path / "out.csv").open() as file:
        found = [(one["custom_id"], one["did"]) for one in csv.DictReader(file)]
    assert found == [("open/1", "row"), ("open/2", "row")]
    _, told = done(command("score", "trouble", "s3://lake/shut/3.csv", "-o", "out.csv"), 3)
    assert "PENSTOCK_SCORING_BUCKETS" in told


def test_ctrl_c_leaves_the_run_going_and_attach_comes_back(farm: Farm, command: Command, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    write(tmp_path / "rows.jsonl", [{"do": f"hold {gate}"}, *({"do": f"row {number}"} for number in range(40))])
    process = command("score", "trouble", "rows.jsonl", "-o", "out.jsonl")
    farm.until(lambda: (tmp_path / "gate.began").exists(), "the first row runs")
    process.send_signal(signal.SIGINT)
    _, told = done(process, 130)
    (hint,) = [line for line in told.splitlines() if "penstock scorings attach" in line]
    id = next(word for word in hint.replace("`", " ").split() if word.startswith("scr_"))
    assert not (tmp_path / "out.jsonl").exists()
    with farm.client() as client:
        assert client.scorings.get(id).status == "running"
    attached = command("scorings", "attach", id, "-o", "out.jsonl")
    gate.touch()
    done(attached)
    assert len(rows(tmp_path / "out.jsonl")) == 41


def test_cancel_ends_it_and_leaves_with_1(farm: Farm, command: Command, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    write(tmp_path / "rows.jsonl", [{"do": f"hold {gate}"}, *({"do": f"row {number}"} for number in range(40))])
    process = command("score", "trouble", "rows.jsonl", "-o", "out.jsonl", "--shard-rows", "8")
    farm.until(lambda: (tmp_path / "gate.began").exists(), "the first row runs")
    with farm.client() as client:
        (running,) = client.scorings.list(status="running")
    done(command("scorings", "cancel", running.id))
    gate.touch()
    _, told = done(process, 1)
    assert "canceled" in told


def test_failed_rows_run_again_and_take_their_places(command: Command, tmp_path: Path) -> None:
    need = tmp_path / "needed"
    verbs = [f"need {need}" if number in (3, 12) else f"row {number}" for number in range(20)]
    write(tmp_path / "rows.jsonl", [{"do": verb} for verb in verbs])
    first = json.loads(done(command("score", "trouble", "rows.jsonl", "-o", "out.jsonl", "--json"))[0])
    assert (first["rows"]["failed"], len(rows(tmp_path / "out.jsonl"))) == (2, 18)
    need.touch()
    again = done(command("scorings", "retry-failed", first["id"], "-o", "out.jsonl", "--json"))[0]
    shown = json.loads(again)
    assert (shown["rows"], shown["round"], shown["errors"]) == ({"total": 20, "done": 20, "failed": 0}, 2, None)
    assert [one["did"] for one in rows(tmp_path / "out.jsonl")] == verbs


def test_too_many_failed_rows_fail_the_run(command: Command, tmp_path: Path) -> None:
    write(tmp_path / "rows.jsonl", [{"do": "raise"} for _ in range(3)])
    _, told = done(command("score", "trouble", "rows.jsonl", "-o", "out.jsonl", "--max-failed-rows", "1"), 1)
    assert "too_many_failed_rows" in told


def test_dry_run_counts_and_runs_nothing(farm: Farm, command: Command, tmp_path: Path) -> None:
    write(tmp_path / "rows.jsonl", [{"do": f"count {tmp_path}/book"} for _ in range(1500)])
    out, _ = done(command("score", "trouble", "rows.jsonl", "--dry-run", "--json"))
    shown = json.loads(out)
    assert (shown["status"], shown["estimate"]["rows"], shown["output"]) == ("completed", 1500, None)
    assert not (tmp_path / "book").exists()


def test_column_that_is_not_there_is_told_before_anything_runs(command: Command, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("verbs\nrow\n")
    _, told = done(command("score", "trouble", "rows.csv", "-o", "out.csv"), 1)
    assert "verbs" in told
    _, told = done(command("score", "trouble", "rows.csv", "-o", "out.csv", "--map", "dos=verbs"), 3)
    assert "did you mean do?" in told


def test_end_of_a_scoring_is_told_to_its_webhook_signed(farm: Farm, command: Command, tmp_path: Path) -> None:
    from standardwebhooks.webhooks import Webhook

    write(tmp_path / "rows.jsonl", [{"do": "row"}])
    with receiving() as receiver:
        words = ("score", "trouble", "rows.jsonl", "-o", "out.jsonl", "--webhook", receiver.url(), "--json")
        id = json.loads(done(command(*words))[0])["id"]
        farm.until(lambda: receiver.received, "the webhook came")
        got = receiver.received[0]
        secret = Endpoints(farm.redis).default(tenant(farm)).signing(0)[0]
        told: Any = Webhook(secret).verify(got.body, dict(got.headers))
        assert (told["type"], told["data"]["id"], told["data"]["status"]) == ("scoring.completed", id, "completed")
        with farm.client() as client:
            deliveries = farm.until(
                lambda: [one for one in client.webhooks.deliveries(id) if one.status == "delivered"], "it is settled"
            )
            client.webhooks.redeliver(id)
            farm.until(lambda: len(receiver.received) == 2, "it came again")
        assert {one.id for one in receiver.received} == {deliveries[0].id}


def test_deleted_scoring_leaves_no_output(farm: Farm, command: Command, tmp_path: Path) -> None:
    write(tmp_path / "rows.jsonl", [{"do": "row"}])
    id = json.loads(done(command("score", "trouble", "rows.jsonl", "-o", "out.jsonl", "--json"))[0])["id"]
    with farm.http() as http:
        file = http.get(f"/v1/objects/{id}-output", follow_redirects=True)
        assert (file.status_code, file.headers["content-type"]) == (200, "application/x-ndjson")
        assert file.headers["content-disposition"] == f'attachment; filename="{id}-output.jsonl"'
        assert http.delete(f"/v1/scorings/{id}").status_code == 204
        assert http.get(f"/v1/scorings/{id}").status_code == 410
        assert http.get(f"/v1/objects/{id}-output").status_code == 404
