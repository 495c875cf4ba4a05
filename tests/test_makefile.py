"""The Makefile explains itself, and CI runs nothing that README does not name."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MAKEFILE = (ROOT / "Makefile").read_text()
#: Targets that are commands, not files.
COMMANDS = sorted({name for line in re.findall(r"^\.PHONY:(.*)$", MAKEFILE, re.MULTILINE) for name in line.split()})


def test_every_command_has_its_line_of_help() -> None:
    shown = subprocess.run(["make", "help"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    explained = dict(re.findall(r"^  make (\S+)\s+(.+)$", shown, re.MULTILINE))
    assert set(COMMANDS) <= set(explained)


def test_every_command_is_phony() -> None:
    named = re.findall(r"^([a-z-]+):[^=\n]*## ", MAKEFILE, re.MULTILINE)
    assert sorted(named) == [name for name in COMMANDS if name in named]
    assert named


def test_ci_calls_only_what_readme_names() -> None:
    script = (ROOT / ".ci/run").read_text()
    called = [line for line in script.splitlines() if line and not line.startswith(("#", "set ", "cd "))]
    readme = (ROOT / "README.md").read_text()
    assert called
    for command in called:
        assert re.search(rf"(?:`|\$ ){re.escape(command)}(?:`|$)", readme, re.MULTILINE), command
