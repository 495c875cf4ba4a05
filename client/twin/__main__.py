"""`python -m client.twin` writes the asynchronous client; `--check` says which files are not up to date."""

import subprocess
import sys
from pathlib import Path

from client.twin.colours import BY_HAND, Colours
from client.twin.rewriting import Twin
from client.twin.source import Module

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "client" / "src" / "penstock"
TARGET = SOURCE / "aio"
#: Modules that begin so have no twin: pika blocks.
BLOCKING = "push"
#: Imports that the twin does not need go, the rest is sorted and formatted, as this repository's own code is.
RUFF = [sys.executable, "-m", "ruff"]


def written() -> dict[Path, str]:
    """Every file of the twin to its text."""
    modules = {
        f"penstock.{path.stem}": Module.read(f"penstock.{path.stem}", path)
        for path in sorted(SOURCE.glob("*.py"))
        if not path.stem.startswith(("__", BLOCKING))
    }
    by_hand = Module.read(BY_HAND, TARGET / f"{BY_HAND.rpartition('.')[2]}.py")
    colours = Colours(modules, by_hand)
    twinned = {name for name, module in modules.items() if name != BY_HAND and colours.waiting(module)}
    return {
        TARGET / f"{name.rpartition('.')[2]}.py": tidy(Twin(modules[name], colours, twinned).text())
        for name in sorted(twinned)
    }


def tidy(text: str) -> str:
    for command in (["check", "--select", "F401,F811,I", "--fix-only", "--quiet"], ["format", "--quiet"]):
        # One name for all, so that no rule depends on the file.
        ran = subprocess.run(
            [*RUFF, *command, "--no-cache", "--stdin-filename", str(TARGET / "twin.py"), "-"],
            input=text, capture_output=True, text=True, cwd=ROOT,
        )  # fmt: skip
        if ran.returncode:
            raise SystemExit(f"ruff {command[0]}: {ran.stderr}\n{text}")
        text = ran.stdout
    return text


def stale(files: dict[Path, str]) -> list[str]:
    """Names of files that are not as they would be written, or should not be there."""
    own = {TARGET / "__init__.py", TARGET / f"{BY_HAND.rpartition('.')[2]}.py"}
    there = set(TARGET.glob("*.py")) - own
    return sorted(
        path.name for path in there | set(files) if not path.exists() or path.read_text() != files.get(path, "")
    )


def main() -> None:
    files = written()
    if "--check" in sys.argv[1:]:
        if found := stale(files):
            raise SystemExit(f"not up to date: {', '.join(found)}; run `make client`")
        return
    for name in stale(files):
        (TARGET / name).unlink(missing_ok=True)
    for path, text in files.items():
        path.write_text(text)


if __name__ == "__main__":
    main()
