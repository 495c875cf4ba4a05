"""What the tests need is looked for, installed where that is allowed, and otherwise named in one sentence."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.services import install
from tests.services.fixtures import own_part


def test_missing_programs_are_named_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    only_programs(tmp_path, {"rabbitmq-server", "epmd"}, monkeypatch)
    assert install.main() == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "redis-server" in said
    assert "sudo apt-get install --no-install-recommends ceph-base" in said
    assert "rabbitmq-server" not in said


def test_nothing_is_done_where_every_program_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    only_programs(tmp_path, {*install.PACKAGES, *install.EXTRAS}, monkeypatch)
    assert install.main() == 0
    assert capsys.readouterr() == ("", "")


def test_what_only_single_tests_need_is_named_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    only_programs(tmp_path, set(install.PACKAGES), monkeypatch)
    assert install.main() == 0
    assert "nodejs npm" in capsys.readouterr().err


def test_root_installs_only_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = tmp_path / "ran"
    there = {*install.PACKAGES, *install.EXTRAS} - {"radosgw", "radosgw-admin"}
    only_programs(tmp_path, {*there, "apt-get"}, monkeypatch, body=f'echo "$DEBIAN_FRONTEND $*" >> {ran}')
    as_root(tmp_path, monkeypatch)

    assert install.main() == 0

    assert ran.read_text().splitlines() == [
        "noninteractive update -q",
        "noninteractive install -y -q --no-install-recommends radosgw",
    ]


def test_what_apt_has_not_for_single_tests_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    only_programs(tmp_path, {*install.PACKAGES, "apt-get"}, monkeypatch, body='case "$*" in *npm*) exit 100;; esac')
    as_root(tmp_path, monkeypatch)
    assert install.main() == 0
    assert "nodejs npm (apt-get failed with code 100)" in capsys.readouterr().err


def test_server_that_apt_has_not_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only_programs(tmp_path, {*install.EXTRAS, "apt-get"}, monkeypatch, body="exit 100")
    as_root(tmp_path, monkeypatch)
    assert install.main() == 1


def test_policy_against_starting_servers_goes_away_again(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    with install.nothing_starts(policy):
        assert subprocess.run([policy]).returncode == install.FORBIDDEN
    assert not policy.exists()


def test_policy_of_the_machine_is_left_alone(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    policy.write_text("the machine's own")
    with install.nothing_starts(policy):
        pass
    assert policy.read_text() == "the machine's own"


def test_each_test_process_has_its_own_part_of_a_server() -> None:
    assert own_part("amqp://guest:guest@127.0.0.1:5672//", 3) == "amqp://guest:guest@127.0.0.1:5672/gw3"
    assert own_part("redis://127.0.0.1:6379/0", 3) == "redis://127.0.0.1:6379/3"
    assert own_part("s3://a:b@127.0.0.1:9000/penstock?secure=false", 3) == "s3://a:b@127.0.0.1:9000/gw3?secure=false"


def as_root(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(install, "POLICY", folder / "policy-rc.d")


def only_programs(folder: Path, programs: set[str], monkeypatch: pytest.MonkeyPatch, *, body: str = "exit 1") -> None:
    """A PATH that has these programs and no others."""
    (folder / "bin").mkdir()
    for name in programs:
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder / "bin"))
    monkeypatch.setattr(install, "SBIN", "")
