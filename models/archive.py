"""A model package as a zip: written byte for byte the same each time, and read with distrust.

Read strictly: no bytes around the archive, no encryption, links, devices, overlaps or implausible compression, and
nothing that `package.json` does not list. What the zip says about a file is never trusted: bytes are counted and hashed
against the record as they are read.
"""

import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from io import BufferedIOBase
from pathlib import Path
from typing import BinaryIO, cast

from errors import PackageError
from models.package import MAX_FILES, MAX_PATH_BYTES, RECORD, Package, Source, decode, encode, path_complaint

#: Members: the record, the files, and entries for their folders.
MAX_MEMBERS = 2 * MAX_FILES
#: A member's place in the directory: 46 bytes, its name, and up to 256 of extra fields.
MAX_DIRECTORY_BYTES = MAX_MEMBERS * (46 + MAX_PATH_BYTES + 256)
MAX_RECORD_BYTES = 8 * 2**20
#: Above this many bytes, a member may be at most so many times its compressed length; weights reach about 10.
PLAIN_BYTES, MAX_RATIO = 2**20, 200
#: The earliest date that a zip can hold: that of every member.
EPOCH = (1980, 1, 1, 0, 0, 0)
#: What zipfile raises for bytes that are no archive, or not all of one.
BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, struct.error, OverflowError)
#: APPNOTE.TXT 4.3.7, 4.3.14 to 4.3.16: local header, end of directory, and the two of zip64.
LOCAL, END = struct.Struct("<4s5H3I2H"), struct.Struct("<4s4H2IH")
LOCATOR64, END64 = struct.Struct("<4sIQI"), struct.Struct("<4sQ2H2I4Q")


def write(source: Source, file: BinaryIO, *, advance: Callable[[int], None] = lambda _: None) -> None:
    """Write a package; stored, not compressed: weights hardly shrink, and compressors differ between machines."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(member(RECORD), encode(source.package))
        for packed in source.package.files:
            info = member(packed.path)
            info.file_size = packed.bytes
            with source.open(packed.path) as content, archive.open(info, "w") as sink:
                while piece := content.read(2**20):
                    sink.write(piece)
                    advance(len(piece))


def member(path: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(path, EPOCH)
    info.create_system, info.external_attr = 3, (stat.S_IFREG | 0o644) << 16
    return info


class Archive:
    """An opened package; implements `models.package.Source`."""

    def __init__(self, archive: zipfile.ZipFile, package: Package) -> None:
        self.archive = archive
        self.package = package

    def open(self, path: str) -> BinaryIO:
        try:
            return cast(BinaryIO, Guarded(self.archive.open(path), path))
        except (*BROKEN, RuntimeError) as error:
            raise PackageError(f"{path!r} cannot be read: {error}") from error


class Guarded(BufferedIOBase):
    """A member whose faults are told as a package's."""

    def __init__(self, inner: object, path: str) -> None:
        self.inner = cast(BinaryIO, inner)
        self.path = path

    def read(self, size: int | None = -1) -> bytes:
        try:
            return self.inner.read(-1 if size is None else size)
        except BROKEN as error:
            raise PackageError(f"{self.path!r} is damaged: {error}") from error

    def close(self) -> None:
        self.inner.close()
        super().close()


@contextmanager
def opened(file: Path, *, max_bytes: int) -> Iterator[Archive]:
    """The package in a zip file; raises PackageError for anything that is not surely one, before it unpacks a byte."""
    with ExitStack() as held:
        try:
            archive = checked(held.enter_context(file.open("rb")), held, max_bytes)
        except OSError as error:
            raise PackageError(f"{file}: cannot be read: {error.strerror}") from error
        except BROKEN as error:
            raise PackageError(f"{file}: no model package: {error}") from error
        except PackageError as error:
            raise PackageError(f"{file}: {error.detail}") from error
        yield archive


def checked(stream: BinaryIO, held: ExitStack, max_bytes: int) -> Archive:
    count = check_end(stream)
    archive = held.enter_context(zipfile.ZipFile(stream))
    check_members(archive, stream, count)
    package = decode(read_record(archive))
    check_files(archive, package, max_bytes)
    return Archive(archive, package)


def check_end(stream: BinaryIO) -> int:
    """How many members there are; refuses a directory too large to be looked at, before zipfile reads it."""
    length = stream.seek(0, 2)
    tail_bytes = min(length, END.size + LOCATOR64.size + END64.size)
    stream.seek(length - tail_bytes)
    tail = stream.read(tail_bytes)
    if len(tail) < END.size or tail[-END.size :][:4] != b"PK\5\6" or tail[-2:] != b"\0\0":
        raise PackageError("no model package: it does not end as a zip without a comment does")
    *_, count, size, offset, _ = END.unpack(tail[-END.size :])
    start = length - END.size
    if tail[-END.size - LOCATOR64.size :][:4] == b"PK\6\7":
        if len(tail) < tail_bytes or tail[:4] != b"PK\6\6":
            raise PackageError("no model package: its zip64 end is damaged")
        *_, count, size, offset = END64.unpack(tail[: END64.size])
        start -= LOCATOR64.size + END64.size
    if count > MAX_MEMBERS or size > MAX_DIRECTORY_BYTES:
        raise PackageError(f"holds {count} entries, {size} bytes of names; at most {MAX_FILES} files are allowed")
    if offset + size != start:
        raise PackageError("no model package: there are bytes around the zip, or its directory is damaged")
    return int(count)


def check_members(archive: zipfile.ZipFile, stream: BinaryIO, count: int) -> None:
    members = archive.infolist()
    if len(members) != count:
        raise PackageError(f"announces {count} entries and holds {len(members)}")
    for info in members:
        if reason := member_complaint(info):
            raise PackageError(reason)
    end = 0
    for info in sorted(members, key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise PackageError(f"{info.filename!r} overlaps its neighbour in the archive")
        end = data_end(stream, info)
    if end > archive.start_dir:
        raise PackageError("an entry overlaps the archive's directory")


def member_complaint(info: zipfile.ZipInfo) -> str:
    """Why a member is none that a package holds; empty when it is one."""
    name = info.filename
    if info.orig_filename != name or not (info.flag_bits & 0x800 or name.isascii()):
        return f"{name[:80]!r} is a name that is not plain UTF-8"
    if reason := path_complaint(name.removesuffix("/")):
        return reason
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFDIR if info.is_dir() else stat.S_IFREG):
        return f"{name!r} is a link or a device; a package holds plain files only"
    if info.flag_bits & 0x1:
        return f"{name!r} is encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"{name!r} is compressed by method {info.compress_type}; only stored and deflated are read"
    if info.compress_type == zipfile.ZIP_STORED and info.file_size != info.compress_size:
        return f"{name!r} has two lengths"
    if info.file_size > PLAIN_BYTES and info.file_size > MAX_RATIO * info.compress_size:
        return f"{name!r} would grow more than {MAX_RATIO} times when it is unpacked"
    return f"{name!r} is a folder with content" if info.is_dir() and info.file_size else ""


def data_end(stream: BinaryIO, info: zipfile.ZipInfo) -> int:
    """Where a member's bytes end, by its own header."""
    stream.seek(info.header_offset)
    header = stream.read(LOCAL.size)
    if len(header) < LOCAL.size or header[:4] != b"PK\3\4":
        raise PackageError(f"{info.filename!r} is not where the directory says")
    *_, name, extra = LOCAL.unpack(header)
    return int(info.header_offset + LOCAL.size + name + extra + info.compress_size)


def read_record(archive: zipfile.ZipFile) -> bytes:
    try:
        info = archive.getinfo(RECORD)
    except KeyError as error:
        raise PackageError(f"no model package: it holds no {RECORD}; `penstock models pack` makes one") from error
    if info.file_size > MAX_RECORD_BYTES:
        raise PackageError(f"{RECORD} has {info.file_size} bytes; at most {MAX_RECORD_BYTES} are allowed")
    return archive.read(info)


def check_files(archive: zipfile.ZipFile, package: Package, max_bytes: int) -> None:
    """Hold the archive's files against the record's."""
    held = sorted(info.filename for info in archive.infolist() if not info.is_dir())
    listed = sorted([RECORD, *(file.path for file in package.files)])
    if held != listed:
        odd = sorted({*held} ^ {*listed}) or [name for name in held if held.count(name) > 1]
        raise PackageError(f"{odd[0][:80]!r} is in the archive or in {RECORD}, not once in both")
    if package.bytes > max_bytes:
        raise PackageError(
            f"holds {package.bytes} bytes; at most {max_bytes} are taken (PENSTOCK_MAX_MODEL_BYTES raises it)"
        )
    for file in package.files:
        if archive.getinfo(file.path).file_size != file.bytes:
            raise PackageError(f"{file.path!r} has another length in the archive than in {RECORD}")
