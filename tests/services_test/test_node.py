"""Packages of Node programs: fetched once, and where they cannot be, the test is skipped with npm's own words."""

import os
from pathlib import Path

import pytest

from tests.services import install, node


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that pins a package; no cache yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "source").mkdir()
    for name in ("package.json", "package-lock.json"):
        (tmp_path / "source" / name).write_text("{}")
    return tmp_path / "source"


def program(folder: Path, name: str, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands before the real one on the PATH."""
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bin" / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")


def test_packages_are_fetched_once(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "npm", "mkdir -p node_modules/one", monkeypatch)
    assert (node.installed(source) / "one").is_dir()
    program(tmp_path, "npm", "exit 1", monkeypatch)
    assert (node.installed(source) / "one").is_dir()


def test_packages_that_another_session_fetched_meanwhile_are_taken(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path, "npm", f"mkdir -p node_modules/one {node.place(source)}/other", monkeypatch)
    assert (node.installed(source) / "other").is_dir()


def test_registry_that_is_not_there_skips_the_test(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path, "npm", "echo 'npm error code ENOTFOUND' >&2; exit 1", monkeypatch)
    with pytest.raises(pytest.skip.Exception, match="code ENOTFOUND"):
        node.installed(source)
    assert not node.place(source).exists()


def test_registry_that_does_not_answer_skips_the_test(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node, "INSTALL_S", 0.01)
    program(tmp_path, "npm", "exec sleep 60", monkeypatch)
    with pytest.raises(pytest.skip.Exception, match="could not fetch"):
        node.installed(source)


def test_lock_file_that_is_wrong_fails_the_test(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "npm", "echo 'npm error code EUSAGE' >&2; exit 1", monkeypatch)
    with pytest.raises(pytest.fail.Exception, match="EUSAGE"):
        node.installed(source)


@pytest.mark.parametrize(("version", "serves"), [("v12.22.9", False), ("v18.0.0", True), ("v20.1.0", True)])
def test_node_of_an_old_distribution_skips_the_test(
    version: str, serves: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in install.EXTRAS:
        program(tmp_path, name, f"echo {version}", monkeypatch)
    if serves:
        node.require()
        return
    with pytest.raises(pytest.skip.Exception, match=version):
        node.require()
