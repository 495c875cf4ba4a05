"""`penstock models pack` and `add`: where packages, the stores they are fetched from, and the repository meet."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from errors import PackageError
from models import archive, arrival, reading
from models.package import Package, Source
from models.unpacked import Unpacked
from settings import Settings


class Added(msgspec.Struct, frozen=True):
    """What became of a package."""

    model: str
    version: str
    digest: str
    files: int
    bytes: int
    #: The version's folder, or the package's file.
    path: str
    #: `packed`, `added`, or `present`: it was there before, the very same.
    status: str
    #: Of a pipeline: the models of its steps, which come as packages of their own; added: those that are not there yet.
    needs: tuple[str, ...] = ()


class Bar:
    """Progress on stderr, where that is a terminal."""

    def __init__(self, words: str) -> None:
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        self.progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self.task: TaskID = self.progress.add_task(words, total=None)

    def __enter__(self) -> "Bar":
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def total(self, length: int | None) -> None:
        self.progress.update(self.task, total=length)

    def advance(self, length: int) -> None:
        self.progress.advance(self.task, length)


def pack(folder: Path, output: Path | None, version: str | None) -> Added:
    """Write a version of a model as a package, over what had the file's name; raises PackageError."""
    source = Unpacked(folder, version)
    package = source.package
    file = output or Path(f"{package.model}-{package.version}.zip")
    with replaced(file) as sink, Bar("packing") as bar:
        bar.total(package.bytes)
        archive.write(source, sink, advance=bar.advance)
    return added(package, file, "packed", needs=needs(folder, package.version))


@contextmanager
def replaced(file: Path) -> Iterator[BinaryIO]:
    """A new file that takes the place of `file` once it is whole, and is gone where it never is."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    except OSError as error:
        raise PackageError(f"{file}: cannot be written: {error.strerror}") from error
    try:
        with open(handle, "wb") as sink:
            yield sink
        os.chmod(name, 0o644)
        os.replace(name, file)
    except OSError as error:
        raise PackageError(f"{file}: cannot be written: {error.strerror}") from error
    finally:
        Path(name).unlink(missing_ok=True)


def add(settings: Settings, origin: str, version: str | None, env: Mapping[str, str]) -> Added:
    """Put a package into the repository: a zip, a model's folder, `https://…` or `s3://bucket/key`."""
    with arrival.incoming(settings.models) as place, opened(settings, origin, version, place, env) as source:
        if arrival.present(source, settings.models):
            return arrived(source.package, settings.models, "present")
        with Bar("checking") as bar:
            bar.total(source.package.bytes)
            folder = arrival.unpack(source, place, advance=bar.advance)
        arrival.check(folder, source.package.version)
        arrival.publish(folder, source.package.version, settings.models)
        return arrived(source.package, settings.models, "added")


@contextmanager
def opened(
    settings: Settings, origin: str, version: str | None, place: Path, env: Mapping[str, str]
) -> Iterator[Source]:
    if "://" not in origin and Path(origin).is_dir():
        yield Unpacked(Path(origin), version)
        return
    file = fetched(settings, origin, place / "package.zip", env) if "://" in origin else Path(origin)
    with archive.opened(file, max_bytes=settings.max_model_bytes) as source:
        if version not in (None, source.package.version):
            raise PackageError(f"{origin} holds version {source.package.version}, not {version}")
        yield source


def fetched(settings: Settings, url: str, file: Path, env: Mapping[str, str]) -> Path:
    # A leaf: files and folders need no HTTP client.
    from storage import fetching

    hosts = frozenset(host.strip() for host in settings.model_hosts.split(",") if host.strip())
    limits = fetching.Limits(hosts=hosts, max_bytes=settings.max_model_bytes, within_s=settings.model_fetch_s)
    with file.open("wb") as sink, Bar("fetching") as bar:
        if url.startswith("s3://"):
            server = fetching.server_of(settings.objects_url, env)
            fetching.bucket(url, server, sink, limits, total=bar.total, advance=bar.advance)
        else:
            fetching.https(url, sink, limits, total=bar.total, advance=bar.advance)
    return file


def arrived(package: Package, repository: Path, status: str) -> Added:
    folder = repository / package.model
    missing = tuple(name for name in needs(folder, package.version) if not (repository / name).is_dir())
    return added(package, folder / package.version, status, needs=missing)


def needs(folder: Path, version: str) -> tuple[str, ...]:
    """The models that a pipeline's steps run; none of another model."""
    manifest = reading.read_version(folder / version, reading.read(folder))
    return tuple(sorted({step.model for step in manifest.steps}))


def added(package: Package, path: Path, status: str, *, needs: tuple[str, ...]) -> Added:
    files = len(package.files)
    return Added(package.model, package.version, package.digest, files, package.bytes, str(path), status, needs)
