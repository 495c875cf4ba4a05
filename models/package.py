"""What a model package says of itself, and which names and sizes are legal in one.

A package is one version of one model: its `model.yaml`, the files beside it, and the version's folder. It comes as a
zip whose `package.json` lists every file with length and SHA-256 (`models.archive`), or as a model's folder
(`models.unpacked`); `models.arrival` puts either into a repository. `docs/models.md` has the format.
"""

import hashlib
import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import BinaryIO, Protocol

import msgspec

from errors import PackageError
from models.catalog import VERSION
from models.reading import FILE, NAME

#: The format this Penstock writes, and the only one it reads.
FORMAT = 1
#: The list of files, first in the archive.
RECORD = "package.json"
#: Files of one package: enough for a vocabulary in shards, few enough to be checked at once.
MAX_FILES = 10_000
#: Bytes of one name, and of a whole path: what common file systems take with a repository's path before it.
MAX_NAME_BYTES, MAX_PATH_BYTES, MAX_DEPTH = 255, 512, 16


class PackedFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file; its path is relative to the model's folder."""

    path: str
    bytes: int
    sha256: str


class Package(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of `package.json`."""

    format: int
    model: str
    version: str
    #: SHA-256 over model, version and every file's path, length and SHA-256: `digest_of`.
    digest: str
    files: tuple[PackedFile, ...]

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)


class Source(Protocol):
    """Where a package's files are read from: an archive or a folder."""

    package: Package

    def open(self, path: str) -> BinaryIO:
        """One file's bytes; raises PackageError where they cannot be read."""


def describe(model: str, version: str, files: Iterable[PackedFile]) -> Package:
    """The record of these files, sorted, with its digest."""
    ordered = tuple(sorted(files, key=lambda file: file.path))
    return Package(FORMAT, model, version, digest_of(model, version, ordered), ordered)


def digest_of(model: str, version: str, files: Iterable[PackedFile]) -> str:
    lines = [f"penstock-package {FORMAT} {model} {version}"]
    lines += [f"{file.sha256} {file.bytes} {file.path}" for file in files]
    return "sha256:" + hashlib.sha256("".join(line + "\n" for line in lines).encode()).hexdigest()


def encode(package: Package) -> bytes:
    return msgspec.json.format(msgspec.json.encode(package), indent=1) + b"\n"


def decode(text: bytes) -> Package:
    """Raises PackageError for a record that is none, or that contradicts itself."""
    try:
        package = msgspec.json.decode(text, type=Package)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PackageError(f"{RECORD}: not a package's list of files: {error}") from error
    if reason := complaint(package):
        raise PackageError(f"{RECORD}: {reason}")
    return package


def complaint(package: Package) -> str:
    """What is wrong with a record; empty when nothing is."""
    if package.format != FORMAT:
        return f"format {package.format} is unknown; this Penstock reads format {FORMAT}"
    if not NAME.fullmatch(package.model):
        return f"the model's name, {package.model!r}, must match {NAME.pattern}"
    if not VERSION.fullmatch(package.version):
        return f"the version, {package.version!r}, must match {VERSION.pattern}"
    if any(file.bytes < 0 for file in package.files):
        return "a file's length is negative"
    if reason := paths_complaint([file.path for file in package.files]):
        return reason
    if FILE not in {file.path for file in package.files}:
        return f"lists no {FILE}"
    if package.digest != digest_of(package.model, package.version, package.files):
        return "its digest is not that of the files it lists"
    if list(package.files) != sorted(package.files, key=lambda file: file.path):
        return "its files are not sorted"
    return next(filter(None, (stranger(file.path, package) for file in package.files)), "")


def stranger(path: str, package: Package) -> str:
    """Why a path has no place in this package: only one version, and nothing hidden from the catalog."""
    top, *below = PurePosixPath(path).parts
    if below and top != package.version and not top.startswith("_"):
        return f"{path!r} stands in another folder than the version's, {package.version!r}"
    return f"{path!r} begins with a dot, or is Penstock's own" if path == RECORD or path.startswith(".") else ""


def paths_complaint(paths: list[str]) -> str:
    """Why these paths cannot all be made, on any common file system; empty when they can."""
    if len(paths) > MAX_FILES:
        return f"holds {len(paths)} files; at most {MAX_FILES} are allowed"
    if reason := next(filter(None, map(path_complaint, paths)), ""):
        return reason
    folders = {folded(str(parent)) for path in paths for parent in PurePosixPath(path).parents}
    seen: dict[str, str] = {}
    for path in paths:
        key = folded(path)
        if key in seen:
            twin = f"; {seen[key]!r} is the same name" if seen[key] != path else ""
            return f"{path[:80]!r} is there twice{twin} where case does not count"
        if key in folders:
            return f"{path[:80]!r} is a file and a folder at once"
        seen[key] = path
    return ""


def path_complaint(path: str) -> str:
    """Why a path is none that a package may hold."""
    shown = repr(path[:80])
    if "\\" in path or ":" in path:
        return f"{shown} holds a backslash or a colon"
    if path.startswith("/"):
        return f"{shown} is absolute; paths are relative to the model's folder"
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return f"{shown} leads out of the package, or is no plain path"
    if any(unicodedata.category(letter) in ("Cc", "Cs", "Cf", "Zl", "Zp") for letter in path):
        return f"{shown} holds control characters"
    if any(part != part.rstrip(". ") for part in parts):
        return f"{shown} holds a name that ends with a dot or a blank"
    if max(len(part.encode()) for part in parts) > MAX_NAME_BYTES or len(path.encode()) > MAX_PATH_BYTES:
        return f"{shown} is too long: {MAX_NAME_BYTES} bytes a name, {MAX_PATH_BYTES} in all"
    return f"{shown} is more than {MAX_DEPTH} folders deep" if len(parts) > MAX_DEPTH else ""


def folded(path: str) -> str:
    """Equal for names that a file system may hold equal: case and composition of letters do not count."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())
