"""Model packages written for one test, good ones and hostile ones."""

import hashlib
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import yaml

from models import archive
from models.package import RECORD, PackedFile, describe, encode
from models.unpacked import Unpacked
from tests.models.repository import ECHO, PLAIN, write

MANIFEST = yaml.safe_dump(PLAIN).encode()
GOOD = {"model.yaml": MANIFEST, "handler.py": ECHO.encode(), "1/weights.bin": b"weights" * 100}
#: More than any package of a test holds.
MAX_BYTES = 10**9


def listed(files: dict[str, bytes]) -> bytes:
    """A record that truly lists these files."""
    packed = [PackedFile(path, len(content), hashlib.sha256(content).hexdigest()) for path, content in files.items()]
    return encode(describe("plain", "1", packed))


def zipped(
    members: Sequence[tuple[zipfile.ZipInfo | str, bytes]], record: bytes | None, method: int = zipfile.ZIP_STORED
) -> bytes:
    """An archive of these members, names and all as given."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", method) as made:
        if record is not None:
            made.writestr(RECORD, record)
        for member, content in members:
            made.writestr(member, content)
    return sink.getvalue()


def package(files: dict[str, bytes] | None = None, method: int = zipfile.ZIP_STORED) -> bytes:
    """A package whose record lists what it holds."""
    held = GOOD if files is None else files
    return zipped(list(held.items()), listed(held), method)


def folder(root: Path, *, version: str = "1", weights: bytes = b"weights") -> Path:
    """A model's folder with one version."""
    first = write(root, PLAIN, ECHO)
    own = first.rename(first.parent / version)
    (own / "weights.bin").write_bytes(weights)
    return own.parent


def packed(model: Path, file: Path, version: str | None = None) -> Path:
    with file.open("wb") as sink:
        archive.write(Unpacked(model, version), sink)
    return file
