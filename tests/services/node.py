"""Node programs of the tests: their packages, installed once as their lock files pin them."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

#: Seconds for npm to fetch a few small packages.
INSTALL_S = 120


def installed(source: Path) -> Path:
    """A copy of the program in `source` with its packages beside it; kept from one run of the tests to the next.

    Raises CalledProcessError where npm fails.
    """
    pinned = (source / "package-lock.json").read_bytes()
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "penstock-tests"
    packages = root / f"npm-{hashlib.sha256(pinned).hexdigest()[:16]}"
    if not packages.exists():
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root) as folder:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(source / name, folder)
            command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
            subprocess.run(command, cwd=folder, check=True, timeout=INSTALL_S, capture_output=True)
            # Whole or not at all, also where two test processes do it at once.
            if not packages.exists():
                Path(folder, "node_modules").rename(packages)
    return packages


def run(source: Path, folder: Path, program: str, *arguments: str, env: dict[str, str], given: str) -> str:
    """Run a program of `source` in `folder` with its packages; its standard output. Raises CalledProcessError."""
    (folder / "node_modules").symlink_to(installed(source))
    shutil.copy(source / program, folder)
    shutil.copy(source / "package.json", folder)
    ran = subprocess.run(
        ["node", program, *arguments], cwd=folder, env=os.environ | env, input=given, text=True, capture_output=True,
        timeout=100, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return ran.stdout
