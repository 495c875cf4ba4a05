"""Node programs of the tests: their packages, installed once as their lock files pin them."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.services import install

#: What the programs are written for; a distribution may have an older one.
OLDEST_NODE = 18
#: Seconds for npm to fetch a few small packages.
INSTALL_S = 120
#: What npm calls a lock file that is wrong; whatever else it fails with is its registry's or the network's.
WRONG_LOCK = ("EUSAGE", "EINTEGRITY")


def require() -> None:
    """Skip the test where there is no Node, or only an old one: in CI too, for not every machine can get it."""
    if sentence := install.missing_sentence(install.EXTRAS):
        pytest.skip(sentence)
    version = subprocess.run(["node", "--version"], check=True, capture_output=True, text=True).stdout.strip()
    if int(version.removeprefix("v").partition(".")[0]) < OLDEST_NODE:
        pytest.skip(f"this Node is {version}; the programs are for {OLDEST_NODE} and later")


def place(source: Path) -> Path:
    """Where the packages that the program in `source` pins are kept from one run of the tests to the next."""
    pinned = (source / "package-lock.json").read_bytes()
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "penstock-tests"
    return root / f"npm-{hashlib.sha256(pinned).hexdigest()[:16]}"


def installed(source: Path) -> Path:
    """The packages of the program in `source`; skips the test where they cannot be fetched."""
    packages = place(source)
    if packages.exists():
        return packages
    packages.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=packages.parent) as folder:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(source / name, folder)
        fetch(Path(folder))
        try:
            # Whole or not at all.
            Path(folder, "node_modules").rename(packages)
        except OSError:
            # Another session was faster.
            if not packages.exists():
                raise
    return packages


def fetch(folder: Path) -> None:
    command = ["npm", "ci", "--prefer-offline", "--no-audit", "--no-fund", "--ignore-scripts"]
    try:
        ran = subprocess.run(command, cwd=folder, timeout=INSTALL_S, capture_output=True, text=True, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm could not fetch the packages in {INSTALL_S} s")
    if not ran.returncode:
        return
    reason = f"npm could not install the packages: {ran.stderr[-1000:]}"
    if any(code in ran.stderr for code in WRONG_LOCK):
        pytest.fail(reason)
    pytest.skip(reason)


def run(source: Path, folder: Path, program: str, *arguments: str, env: dict[str, str], given: str) -> str:
    """Run a program of `source` in `folder` with its packages; its standard output."""
    (folder / "node_modules").symlink_to(installed(source))
    shutil.copy(source / program, folder)
    shutil.copy(source / "package.json", folder)
    ran = subprocess.run(
        ["node", program, *arguments], cwd=folder, env=os.environ | env, input=given, text=True, capture_output=True,
        timeout=100, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return ran.stdout
