"""What is generated is up to date and whole; the site that `make docs` writes has every page."""

import os
import subprocess
import sys
from pathlib import Path

import penstock
import yaml
from penstock.cli import CLIENT, OPERATOR
from penstock.errors import below

from tests.docs.pages import ROOT, anchors

REFERENCE = ROOT / "docs" / "reference"


def test_generated_pages_are_up_to_date() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "docs.building", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


def test_every_public_name_stands_in_the_python_reference() -> None:
    page = REFERENCE / "python.md"
    text, titles = page.read_text(), anchors(page)
    errors = {kind.__name__ for kind in below(penstock.PenstockError)}
    names = set(penstock.__all__) - {"__version__"}
    assert {name for name in names & errors if f"`{name}`" not in text} == set()
    assert {name for name in names - errors if not {name.lower(), f"penstock{name.lower()}"} & titles} == set()


def test_every_command_stands_in_the_command_line_reference() -> None:
    titles = anchors(REFERENCE / "cli.md")
    assert {name for name in (*CLIENT, *OPERATOR) if f"penstock-{name}" not in titles} == set()


def test_site_has_every_page_and_keeps_diagrams(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(tmp_path)]
    ran = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert pages == set(listed(plain(ROOT / "mkdocs.yml")))
    for page in pages - {"README.md"}:
        assert (tmp_path / page).with_suffix(".html").is_file()
    assert "sequenceDiagram" in (tmp_path / "architecture.html").read_text()


def plain(path: Path) -> object:
    """The navigation; the rest has tags that only mkdocs reads."""
    return yaml.safe_load(path.read_text().partition("\nnav:")[2])


def listed(entry: object) -> list[str]:
    if isinstance(entry, dict):
        entry = list(entry.values())
    return [name for one in entry for name in listed(one)] if isinstance(entry, list) else [str(entry)]
