"""The object store as a folder: an object is a file, written beside and then renamed."""

import errno
import os
import secrets
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from errors import InputChanged, NotFound, ObjectsUnavailable
from storage.multipart_folder import FolderParts
from storage.objectkeys import check_key, check_prefix
from storage.streams import CHUNK_BYTES, Incoming, Outgoing, Stat, Stored

#: Unfinished uploads. No key begins with a dot, so that no object can lie here.
UNFINISHED = ".unfinished"
#: After this many seconds an unfinished upload belongs to a process that died.
ABANDONED_S = 86400
#: A delete may remove a folder between its making and the rename into it, but hardly so often in a row.
RENAMES = 100


class Folder:
    """Implements `storage.objects.Objects`."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self._unfinished = self._root / UNFINISHED
        self._sweep()

    def put(
        self, key: str, chunks: Iterable[bytes] | BinaryIO, *, max_bytes: int | None = None, digest: bool = True
    ) -> Stored:
        path, incoming = self._path(key), Incoming(chunks, max_bytes=max_bytes, digest=digest)
        with translated():
            self._unfinished.mkdir(parents=True, exist_ok=True)
        unfinished = self._unfinished / secrets.token_hex(16)
        try:
            self._write(unfinished, incoming)
            self._rename(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)
        return incoming.stored

    def open(self, key: str, *, start: int = 0, length: int | None = None, etag: str = "") -> Outgoing:
        path = self._path(key)
        with translated(key):
            file = path.open("rb")
            file.seek(start)
        left = sys.maxsize if length is None else length

        def read(size: int) -> bytes:
            nonlocal left
            with translated(key):
                data = file.read(min(size, left))
                # After reading: a file that is written to in place has another time before it has other bytes.
                if etag and version(os.fstat(file.fileno())) != etag:
                    file.close()
                    raise InputChanged(f"object {key} is not what it was")
            left -= len(data)
            return data

        return Outgoing(read, file.close)

    def read(self, key: str, max_bytes: int | None = None) -> bytes:
        return self.open(key).whole(max_bytes)

    def size(self, key: str) -> int | None:
        path = self._path(key)
        try:
            with translated(key):
                return path.stat().st_size
        except NotFound:
            return None

    def stat(self, key: str) -> Stat | None:
        path = self._path(key)
        try:
            with translated(key):
                found = path.stat()
        except NotFound:
            return None
        return Stat(found.st_size, version(found))

    def delete(self, key: str) -> None:
        path = self._path(key)
        with suppress(NotFound), translated(key):
            path.unlink()
            self._prune(path.parent)

    def delete_prefix(self, prefix: str) -> None:
        for key in list(self.keys(prefix)):
            self.delete(key)

    def keys(self, prefix: str = "") -> Iterator[str]:
        check_prefix(prefix)
        above = prefix.rpartition("/")[0]
        for folder, folders, files in os.walk(self._root / above):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in files:
                key = (Path(folder) / name).relative_to(self._root).as_posix()
                if key.startswith(prefix):
                    yield key

    def url(self, key: str, expires_s: int, *, kind: str = "application/octet-stream", name: str = "") -> str | None:
        return None

    def put_url(self, key: str, expires_s: int, *, length: int | None = None) -> str | None:
        return None

    def multipart(self) -> FolderParts:
        return FolderParts(self._root, self._rename)

    def ready(self) -> None:
        with translated():
            self._unfinished.mkdir(parents=True, exist_ok=True)
            if not os.access(self._unfinished, os.W_OK):
                raise PermissionError(errno.EACCES, "not writable", str(self._root))

    def _path(self, key: str) -> Path:
        check_key(key)
        return self._root / key

    def _write(self, path: Path, incoming: Incoming) -> None:
        with translated():
            file = path.open("xb")
        with file:
            # What the source raises goes up as it is; only our own writing is translated.
            while chunk := incoming.read(CHUNK_BYTES):
                with translated():
                    file.write(chunk)
            with translated():
                file.flush()
                # The record that names this object may reach the disk before the object does.
                os.fsync(file.fileno())

    def _rename(self, unfinished: Path, path: Path) -> None:
        with translated():
            for left in reversed(range(RENAMES)):
                try:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    unfinished.replace(path)
                    return
                except (FileNotFoundError, FileExistsError):
                    if not left:
                        raise

    def _prune(self, folder: Path) -> None:
        """Remove folders that have become empty, up to the root."""
        with suppress(OSError):
            while folder != self._root:
                folder.rmdir()
                folder = folder.parent

    def _sweep(self) -> None:
        """Erase what uploads left when their process was killed."""
        with suppress(OSError):
            for entry in list(os.scandir(self._unfinished)):
                if entry.stat().st_mtime < time.time() - ABANDONED_S:
                    os.unlink(entry)
        # The relay is the first to erase them, a day after they were begun.
        self.multipart().sweep(2 * ABANDONED_S)


def version(found: os.stat_result) -> str:
    """A file's version. An object is put by a rename, so that another one is another inode as well."""
    return f"{found.st_size:x}-{found.st_mtime_ns:x}-{found.st_ino:x}"


@contextmanager
def translated(key: str | None = None) -> Iterator[None]:
    """File system errors as the errors of an object store."""
    try:
        yield
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        if key is None:
            raise ObjectsUnavailable(f"the object folder cannot be used: {error}") from error
        raise NotFound(f"no object {key}") from error
    except OSError as error:
        raise ObjectsUnavailable(f"the object folder cannot be used: {error}") from error
