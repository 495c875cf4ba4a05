"""The operator's commands, run as an operator runs them, on the embedded store."""

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from storage.access import Access
from storage.connection import connect
from storage.jobs import JobStore
from tasks.message import VERSION, Message
from tests.farm.repository import build
from tests.services.valkey import valkey_service

ROOT = Path(__file__).resolve().parents[1]


def run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    env = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    env |= {"PENSTOCK_DATA": str(folder), "PENSTOCK_MODELS": str(folder / "models")}
    command = [sys.executable, str(ROOT / "farm.py"), "run", *arguments]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    build(tmp_path / "models")
    return tmp_path


def test_key_is_made_shown_once_listed_and_revoked(folder: Path) -> None:
    store = valkey_service(folder)
    store.start()
    try:
        made = json.loads(run(folder, "key", "create", "--tenant", "acme", "--name", "erp", "--json").stdout)
        (listed,) = json.loads(run(folder, "key", "list", "--json").stdout)
        assert (listed["tenant"], listed["name"]) == ("acme", "erp")
        assert made["key"] not in run(folder, "key", "list").stdout
        assert listed["id"] in run(folder, "key", "list").stdout
        client = connect(store.url)
        grant = Access(client).check(made["key"])
        assert grant is not None
        assert grant.tenant == "acme"
        assert run(folder, "key", "revoke", listed["id"]).returncode == 0
        assert Access(client).check(made["key"]) is None
        client.close()
    finally:
        store.stop()


def test_quota_is_set_piece_by_piece_listed_and_lifted(folder: Path) -> None:
    store = valkey_service(folder)
    store.start()
    try:
        set_ = json.loads(run(folder, "tenant", "set", "acme", "--max-in-flight", "100", "--json").stdout)
        assert set_ == {"tenant": "acme", "max_in_flight": 100, "requests_per_s": None, "bytes_per_s": None}
        run(folder, "tenant", "set", "acme", "--requests-per-s", "2.5")
        listed = run(folder, "tenant", "list").stdout
        assert listed == "acme: max in flight 100, requests per s 2.5, 0 in flight\n"
        run(folder, "tenant", "set", "acme", "--max-in-flight", "0", "--requests-per-s", "0")
        assert json.loads(run(folder, "tenant", "list", "--json").stdout) == []
        refused = run(folder, "tenant", "set", "Acme Ltd", "--max-in-flight", "1")
        assert (refused.returncode, "tenant's name" in refused.stderr) == (2, True)
    finally:
        store.stop()


def test_stuck_jobs_are_counted_and_then_published(folder: Path) -> None:
    store = valkey_service(folder)
    store.start()
    client = connect(store.url)
    message = Message(v=VERSION, id="job_1", model="echo", version="1", inputs=msgspec.Raw(b"{}"))
    try:
        JobStore(client).create(message.record(message.encode(), now_ms=1))
        counted = json.loads(run(folder, "requeue", "--stuck", "--dry-run", "--json").stdout)
        assert counted == {"dry_run": True, "queues": {message.queue: 1}, "orphans": 0}
        assert client.llen(message.queue) == 0
        done = run(folder, "requeue", "--stuck")
        assert done.stdout.split() == [message.queue, "1"]
        assert done.stderr.endswith("1 published\n")
        assert client.llen(message.queue) == 1
        assert json.loads(run(folder, "requeue", "--stuck", "--json").stdout)["queues"] == {}
        assert run(folder, "requeue").returncode == 2
    finally:
        client.close()
        store.stop()


def test_topology_declares_every_lane_of_every_model_that_is_whole(folder: Path) -> None:
    store = valkey_service(folder)
    store.start()
    try:
        names = json.loads(run(folder, "topology", "--json").stdout)
    finally:
        store.stop()
    assert {"penstock.dead", "cpu.echo.1.high", "cpu.echo.1.normal", "cpu.echo.1.low"} <= set(names)
    assert not any("broken" in name for name in names)


def test_broken_model_is_named_and_the_exit_status_says_so(folder: Path) -> None:
    checked = run(folder, "models", "check")
    assert checked.returncode == 1
    assert "broken  broken" in checked.stdout
    assert "FLOAT" in checked.stdout


def test_config_shows_what_is_in_force(folder: Path) -> None:
    assert json.loads(run(folder, "config", "--json").stdout)["PENSTOCK_DATA"] == str(folder)


def test_away_store_is_one_sentence_and_status_2(folder: Path) -> None:
    refused = run(folder, "key", "list")
    assert refused.returncode == 2
    assert refused.stderr.startswith("penstock: the job store does not answer")
    assert "Traceback" not in refused.stderr
