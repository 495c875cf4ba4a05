"""Uploads in parts, for the object store that is a folder.

An upload is a folder of its own: a file `object` that the parts are written into, and for each part that is there a
mark `<number>-<bytes>-<MD5>`. Completing it is a rename.
"""

import fcntl
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from errors import InvalidInput, NotFound, ObjectsUnavailable
from storage.multipart import Part, require
from storage.objectkeys import check_key
from storage.streams import CHUNK_BYTES

#: Beside the objects: no key begins with a dot.
UPLOADS = ".multipart"


class FolderParts:
    """Implements `storage.multipart.Multipart`."""

    def __init__(self, root: Path, rename: Callable[[Path, Path], None]) -> None:
        """`rename` makes the folders of where a file goes."""
        self._root, self._rename = root, rename

    def begin(self, key: str) -> str:
        check_key(key)
        id = secrets.token_hex(16)
        with translated():
            (self._folder(key) / id).mkdir(parents=True)
            (self._folder(key) / id / "object").touch()
        return id

    def url(self, key: str, id: str, number: int, *, length: int, expires_s: int) -> str | None:
        return None

    def put(self, key: str, id: str, number: int, chunks: Iterable[bytes], *, offset: int, length: int) -> Part:
        folder = self._upload(key, id)
        arriving = folder / f"arriving-{secrets.token_hex(8)}"
        try:
            part = self._receive(arriving, number, chunks, length)
            with translated(), locked(folder / "object") as file:
                # The mark goes first: a crash in between leaves a part that is sent again.
                for mark in marks(folder, number):
                    mark.unlink()
                with arriving.open("rb") as source:
                    copy(source.fileno(), file, offset, length)
                (folder / f"{number}-{part.bytes}-{part.etag}").touch()
        finally:
            arriving.unlink(missing_ok=True)
        return part

    def parts(self, key: str, id: str) -> list[Part]:
        with translated():
            found = [mark.name.split("-") for mark in marks(self._upload(key, id))]
        return sorted((Part(int(number), int(size), etag) for number, size, etag in found), key=lambda one: one.number)

    def complete(self, key: str, id: str, parts: Sequence[Part]) -> None:
        folder = self._upload(key, id)
        with translated(), locked(folder / "object") as file:
            require(parts, self.parts(key, id))
            os.ftruncate(file, sum(part.bytes for part in parts))
            # The record that names this object may reach the disk before the object does.
            os.fsync(file)
            self._rename(folder / "object", self._root / key)
        self.abandon(key)

    def abandon(self, key: str) -> None:
        with translated(), suppress(FileNotFoundError):
            shutil.rmtree(self._folder(key))

    def sweep(self, older_s: float) -> None:
        """Erase uploads to which nothing was added for so long: whoever should have was killed, or forgot."""
        with suppress(OSError):
            for folder in list((self._root / UPLOADS).iterdir()):
                if max(one.stat().st_mtime for one in (folder, *folder.iterdir())) < time.time() - older_s:
                    shutil.rmtree(folder)

    def _folder(self, key: str) -> Path:
        return self._root / UPLOADS / hashlib.sha256(key.encode()).hexdigest()

    def _upload(self, key: str, id: str) -> Path:
        folder = self._folder(key) / id
        if not id.isalnum() or not (folder / "object").is_file():
            raise NotFound("this upload is over")
        return folder

    def _receive(self, path: Path, number: int, chunks: Iterable[bytes], length: int) -> Part:
        count, digest = 0, hashlib.md5(usedforsecurity=False)
        with translated():
            file = path.open("xb")
        with file:
            for chunk in chunks:
                count += len(chunk)
                if count > length:
                    break
                digest.update(chunk)
                with translated():
                    file.write(chunk)
        if count != length:
            raise InvalidInput(f"part {number} has {length} bytes, not {'more' if count > length else count}")
        return Part(number, length, digest.hexdigest())


def marks(folder: Path, number: int | None = None) -> Iterator[Path]:
    beginning = "[0-9]*" if number is None else str(number)
    return folder.glob(f"{beginning}-*-*")


def copy(source: int, target: int, offset: int, length: int) -> None:
    """Copy a whole file to a place in another, in the kernel where it can."""
    os.lseek(target, offset, os.SEEK_SET)
    while length:
        try:
            done = os.sendfile(target, source, None, min(length, 2**30))
        except TypeError:  # not Linux
            done = os.write(target, os.read(source, CHUNK_BYTES))
        length -= done


@contextmanager
def locked(path: Path) -> Iterator[int]:
    """The file, to be changed by nobody else meanwhile."""
    try:
        file = os.open(path, os.O_RDWR)
    except FileNotFoundError as error:
        raise NotFound("this upload is over") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not os.fstat(file).st_nlink or not path.exists():
            raise NotFound("this upload is over")
        yield file
    finally:
        os.close(file)


@contextmanager
def translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ObjectsUnavailable(f"the object folder cannot be used: {error}") from error
