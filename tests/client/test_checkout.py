import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = """
import click
from errors import PenstockError

@click.group()
def operator(): ...

@operator.command()
@click.option("--pool")
def worker(pool):
    click.echo(f"working in {pool}")

@operator.command()
def config():
    raise PenstockError("PENSTOCK_PROT is not a setting")

@operator.group()
def models(): ...

@models.command()
@click.argument("path")
def check(path):
    click.echo(f"checked {path}")
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    home = tmp_path / "checkout"
    (home / "deep" / "down").mkdir(parents=True)
    (home / "commands.py").write_text(COMMANDS)
    (home / "settings.py").write_text("")
    (home / "errors.py").write_text("class PenstockError(Exception): ...\n")
    return home


def penstock(*words: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "penstock", *words], cwd=cwd, env=env, capture_output=True, text=True, check=False
    )


def test_an_operator_command_runs_anywhere_below_a_checkout(checkout: Path) -> None:
    done = penstock("worker", "--pool", "cpu", cwd=checkout / "deep" / "down")
    assert (done.returncode, done.stdout) == (0, "working in cpu\n"), done.stderr


def test_penstock_home_names_the_checkout(checkout: Path, tmp_path: Path) -> None:
    done = penstock("models", "check", "x", cwd=tmp_path, PENSTOCK_HOME=str(checkout))
    assert (done.returncode, done.stdout) == (0, "checked x\n"), done.stderr


def test_a_home_that_is_no_checkout_is_told(tmp_path: Path) -> None:
    done = penstock("worker", cwd=tmp_path, PENSTOCK_HOME=str(tmp_path))
    assert done.returncode == 2
    assert "no checkout of Penstock" in done.stderr


def test_a_wrong_setting_is_one_line(checkout: Path) -> None:
    done = penstock("config", cwd=checkout)
    assert (done.returncode, done.stderr) == (2, "Error: PENSTOCK_PROT is not a setting\n")


def test_a_command_that_the_checkout_lacks_is_told(checkout: Path) -> None:
    done = penstock("up", cwd=checkout)
    assert done.returncode == 2
    assert "has no command `penstock up`" in done.stderr


def test_a_checkout_that_cannot_be_imported_is_told(checkout: Path) -> None:
    (checkout / "commands.py").write_text("import no_such_module")
    done = penstock("up", cwd=checkout)
    assert done.returncode == 2
    assert "cannot be imported (No module named 'no_such_module')" in done.stderr


def test_without_a_checkout_one_sentence_says_where_it_runs(tmp_path: Path) -> None:
    code = (
        "import penstock.cli.checkout as c; c.__file__ = '/nowhere/a/b/c/d/e.py'; from penstock.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, "up"], cwd=tmp_path, capture_output=True, text=True, check=False, env={}
    )
    assert done.returncode == 2
    assert done.stderr == (
        "Error: `penstock up` runs in a checkout of Penstock: go there, or name it with PENSTOCK_HOME\n"
    )
