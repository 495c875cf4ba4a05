"""A model's folder as a package: one version, with the files beside it."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from errors import PackageError, UnknownModel
from models.catalog import one_of, versions
from models.package import PackedFile, complaint, describe
from models.reading import FILE

#: Made by Python while a handler is imported.
CACHE = "__pycache__"


class Unpacked:
    """Implements `models.package.Source`. Hidden files and Python's caches are left out."""

    def __init__(self, folder: Path, version: str | None = None) -> None:
        """Read and hash one version, the newest where `version` is None; raises PackageError."""
        self.folder = Path(os.path.abspath(folder))
        if not (self.folder / FILE).is_file():
            raise PackageError(f"{folder}: no model's folder, since it holds no {FILE}")
        entries, refused = versions(self.folder)
        if not entries:
            raise PackageError(refused[0].reason)
        name = entries[0].manifest.name
        try:
            entry = one_of(entries, version, refused)
        except UnknownModel as error:
            raise PackageError(error.detail) from error
        found = [packed(self.folder, path) for path in files(self.folder, entry.version)]
        self.package = describe(name, entry.version, found)
        if reason := complaint(self.package):
            raise PackageError(f"{folder}: {reason}")

    def open(self, path: str) -> BinaryIO:
        try:
            return (self.folder / path).open("rb")
        except OSError as error:
            raise PackageError(f"{self.folder / path}: cannot be read: {error.strerror}") from error


def files(folder: Path, version: str) -> Iterator[Path]:
    """What belongs to a version: its own folder, what is beside it, and folders that are no version (`_shared`)."""
    for path in below(folder):
        top = path.relative_to(folder).parts[0]
        if path.parent == folder or top == version or top.startswith("_"):
            yield path


def below(folder: Path) -> Iterator[Path]:
    """Every file below a folder but hidden ones and caches; raises PackageError for what is no plain file."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name == CACHE:
            continue
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise PackageError(f"{path}: a link or a device; a package holds plain files: copy the file there")
        if path.is_dir():
            yield from below(path)
        else:
            yield path


def packed(folder: Path, path: Path) -> PackedFile:
    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            return PackedFile(path.relative_to(folder).as_posix(), stream.tell(), digest)
    except OSError as error:
        raise PackageError(f"{path}: cannot be read: {error.strerror}") from error
