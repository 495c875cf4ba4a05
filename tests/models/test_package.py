"""Packages: the same bytes each time, whole when read back, and refused when they are anything else."""

import io
import stat
import struct
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from errors import PackageError
from models import archive, arrival
from models.package import MAX_FILES, decode, path_complaint, paths_complaint
from tests.models.packages import GOOD, MAX_BYTES, folder, listed, package, packed, zipped


def unpack(content: bytes, root: Path) -> dict[str, bytes]:
    """What arrives in a hidden folder of `root`; raises PackageError."""
    file = root / "package.zip"
    file.write_bytes(content)
    with arrival.incoming(root) as place, archive.opened(file, max_bytes=MAX_BYTES) as source:
        made = arrival.unpack(source, place)
        return {path.relative_to(made).as_posix(): path.read_bytes() for path in made.rglob("*") if path.is_file()}


def test_packing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    first = packed(folder(tmp_path / "a"), tmp_path / "a.zip")
    # Other times, other order of creation, and what Python and editors leave behind.
    again = folder(tmp_path / "b")
    (again / "__pycache__").mkdir()
    (again / "__pycache__" / "handler.pyc").touch()
    (again / ".handler.py.swp").touch()
    (again / "handler.py").rename(again / "x")
    (again / "x").rename(again / "handler.py")
    assert packed(again, tmp_path / "b.zip").read_bytes() == first.read_bytes()


def test_package_holds_one_version_the_newest(tmp_path: Path) -> None:
    model = folder(tmp_path)
    (model / "2").mkdir()
    (model / "2" / "weights.bin").write_bytes(b"newer")
    with archive.opened(packed(model, tmp_path / "m.zip"), max_bytes=MAX_BYTES) as source:
        assert source.package.version == "2"
        assert [file.path for file in source.package.files] == ["2/weights.bin", "handler.py", "model.yaml"]
    with archive.opened(packed(model, tmp_path / "m.zip", "1"), max_bytes=MAX_BYTES) as source:
        assert source.package.version == "1"


def test_version_without_files_is_a_package_too(tmp_path: Path) -> None:
    held = {name: content for name, content in GOOD.items() if not name.startswith("1/")}
    assert unpack(package(held), tmp_path) == held


def test_link_in_a_model_is_not_packed(tmp_path: Path) -> None:
    model = folder(tmp_path)
    (model / "1" / "secret").symlink_to("/etc/passwd")
    with pytest.raises(PackageError, match="1/secret: a link or a device"):
        packed(model, tmp_path / "m.zip")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_package_is_read_back_as_it_was(tmp_path: Path, method: int) -> None:
    assert unpack(package(method=method), tmp_path) == GOOD


def member(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return info


NAMES = {
    "/etc/cron.d/x": "absolute",
    "../x": "leads out",
    "1/../../x": "leads out",
    "1//x": "no plain path",
    "./x": "no plain path",
    "C:/x": "colon",
    "C:x": "colon",
    "1\\x": "backslash",
    "..\\x": "backslash",
    "1/x\n": "control characters",
    "1/‮gpj.exe": "control characters",
    "1/x.": "ends with a dot",
    "1/ ": "ends with a dot or a blank",
    "1/" + "x" * 300: "too long",
    "1/" + "ü" * 200: "too long",
    "/".join(["1", *"abcdefghijklmnop"]): "folders deep",
    "1/" + "/".join(["y" * 200] * 3): "too long",
}


@pytest.mark.parametrize(("name", "reason"), NAMES.items())
def test_name_that_is_no_plain_path_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    held = GOOD | {name: b"x"}
    with pytest.raises(PackageError, match=reason):
        unpack(zipped(list(held.items()), listed(held)), tmp_path)
    with pytest.raises(PackageError, match=reason):
        decode(listed(held))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFDIR])
def test_link_or_device_is_refused(tmp_path: Path, kind: int) -> None:
    held = GOOD | {"1/odd": b"/etc/passwd"}
    members: list[tuple[zipfile.ZipInfo | str, bytes]] = [*GOOD.items()]
    members.append((member("1/odd", kind | 0o777), b"/etc/passwd"))
    with pytest.raises(PackageError, match="'1/odd' is a link or a device"):
        unpack(zipped(members, listed(held)), tmp_path)


@pytest.mark.parametrize(("one", "other"), [("1/a", "1/A"), ("1/ss", "1/ß"), ("1/\u00fc", "1/u\u0308")])
def test_names_that_some_file_systems_hold_equal_are_refused(tmp_path: Path, one: str, other: str) -> None:
    with pytest.raises(PackageError, match="where case does not count"):
        unpack(package(GOOD | {one: b"1", other: b"2"}), tmp_path)


def test_file_that_is_a_folder_as_well_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="a file and a folder at once"):
        unpack(package(GOOD | {"1/a": b"1", "1/A/b": b"2"}), tmp_path)


def test_name_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    with warnings.catch_warnings(action="ignore", category=UserWarning):
        content = zipped([*GOOD.items(), ("handler.py", b"import os")], listed(GOOD))
    with pytest.raises(PackageError, match=r"'handler\.py' is in the archive or in package\.json, not once in both"):
        unpack(content, tmp_path)


@pytest.mark.parametrize("odd", ["1/extra.bin", "2/weights.bin", ".hidden", "1/.hidden"])
def test_file_that_the_record_does_not_list_is_refused(tmp_path: Path, odd: str) -> None:
    with pytest.raises(PackageError, match="not once in both"):
        unpack(zipped([*GOOD.items(), (odd, b"x")], listed(GOOD)), tmp_path)
    fewer = [(name, content) for name, content in GOOD.items() if name != "handler.py"]
    with pytest.raises(PackageError, match=r"'handler\.py' is in the archive or"):
        unpack(zipped(fewer, listed(GOOD)), tmp_path)


def test_record_that_lists_another_version_is_refused() -> None:
    with pytest.raises(PackageError, match="another folder than the version's"):
        decode(listed(GOOD | {"2/weights.bin": b"x"}))


def test_file_with_another_content_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    changed = GOOD | {"1/weights.bin": b"Weights" * 100}
    with pytest.raises(PackageError, match=r"'1/weights\.bin' is not the file that the package lists"):
        unpack(zipped(list(changed.items()), listed(GOOD)), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["package.zip"]


def test_record_with_another_digest_is_refused() -> None:
    record = msgspec.json.decode(listed(GOOD))
    with pytest.raises(PackageError, match="its digest is not that of the files"):
        decode(
            msgspec.json.encode(
                record | {"version": "2", "files": [f for f in record["files"] if "/" not in f["path"]]}
            )
        )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": 2}, "format 2 is unknown"),
        ({"model": "../x"}, "the model's name"),
        ({"version": "1.0"}, "the version"),
        ({"run": "rm -rf /"}, "unknown field"),
        ({"files": 7}, "Expected `array`"),
        ({"files": []}, "lists no model.yaml"),
    ],
)  # fmt: skip
def test_record_that_is_none_says_why(change: dict[str, object], reason: str) -> None:
    record = msgspec.json.decode(listed(GOOD))
    with pytest.raises(PackageError, match=reason):
        decode(msgspec.json.encode(record | change))


def test_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    held = GOOD | {"1/zeros": bytes(30 * 2**20)}
    with pytest.raises(PackageError, match="'1/zeros' would grow more than 200 times"):
        unpack(package(held, zipfile.ZIP_DEFLATED), tmp_path)
    assert unpack(package(held), tmp_path) == held


def test_package_larger_than_allowed_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "m.zip"
    file.write_bytes(package())
    with (
        pytest.raises(PackageError, match=r"at most 100 are taken \(PENSTOCK_MAX_MODEL_BYTES"),
        archive.opened(file, max_bytes=100),
    ):
        pass


def directory_entry(content: bytes, name: str) -> int:
    """Where a member's entry stands in the archive's directory (APPNOTE.TXT 4.3.12)."""
    start = content.index(b"PK\1\2")
    return content.rindex(b"PK\1\2", start, content.index(name.encode(), start))


def lying(content: bytes, *, packed_size: int, size: int) -> bytes:
    """The package with other lengths for its weights, in the directory."""
    place = directory_entry(content, "1/weights.bin") + 20
    return content[:place] + struct.pack("<II", packed_size, size) + content[place + 8 :]


@pytest.mark.parametrize(("packed_size", "size"), [(700, 1), (700, 2**31), (10, 700), (2**31, 2**31), (0, 0)])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_lying_lengths_are_refused(tmp_path: Path, packed_size: int, size: int, method: int) -> None:
    with pytest.raises(PackageError):
        unpack(lying(package(method=method), packed_size=packed_size, size=size), tmp_path)


def test_entries_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    held = GOOD | {"1/a": b"x" * 50, "1/b": b"x" * 50}
    content = package(held)
    first = struct.unpack_from("<I", content, directory_entry(content, "1/a") + 42)[0]
    place = directory_entry(content, "1/b") + 42
    with pytest.raises(PackageError, match="overlaps its neighbour"):
        unpack(content[:place] + struct.pack("<I", first) + content[place + 4 :], tmp_path)


def test_a_million_entries_are_refused_before_they_are_read(tmp_path: Path) -> None:
    # The directory alone, as a hostile client would make it: the rest never matters.
    entry = struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    count = 10**6
    directory = entry * count
    end64 = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(directory), 0)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, len(directory), 1)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    with pytest.raises(PackageError, match="holds 1000000 entries"):
        unpack(directory + end64 + locator + end, tmp_path)
    # The same with a lie about their number.
    end64 = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, 3, 3, len(directory), 0)
    with pytest.raises(PackageError, match="bytes of names"):
        unpack(directory + end64 + locator + end, tmp_path)


def test_too_many_files_are_refused_by_the_record() -> None:
    assert "at most 10000" in paths_complaint([f"1/{number}" for number in range(MAX_FILES + 1)])


def test_zip64_package_is_read(tmp_path: Path) -> None:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as made:
        made.writestr("package.json", listed(GOOD))
        for name, content in GOOD.items():
            with made.open(zipfile.ZipInfo(name), "w", force_zip64=True) as one:
                one.write(content)
    assert unpack(sink.getvalue(), tmp_path) == GOOD


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: b"#!/bin/sh\n" + content,
        lambda content: content + b"\0",
        lambda content: content[:-1],
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: b"PK\5\6" + bytes(18),
        lambda content: content[:-22] + content[-22:-2] + b"\3\0abc",
    ],
)
def test_bytes_around_the_archive_are_refused(tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    with pytest.raises(PackageError, match=r"package\.zip: "):
        unpack(spoil(package()), tmp_path)


def test_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    held = GOOD | {"1/\u00fc": b"x"}
    content = package(held)
    with pytest.raises(PackageError, match=r"no model package|UTF-8"):
        unpack(content.replace("1/\u00fc".encode(), b"1/\xff\xfe"), tmp_path)
    # The flag that says so, taken away: what the name means depends on the reader's code page.
    place = directory_entry(content, "1/\u00fc") + 8
    with pytest.raises(PackageError, match="not plain UTF-8"):
        unpack(content[:place] + b"\0\0" + content[place + 2 :], tmp_path)


def test_encrypted_member_is_refused(tmp_path: Path) -> None:
    content = package()
    place = directory_entry(content, "1/weights.bin") + 8
    with pytest.raises(PackageError, match="is encrypted"):
        unpack(content[:place] + b"\1\0" + content[place + 2 :], tmp_path)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_damaged_package_is_refused_or_whole(data: st.DataObject) -> None:
    content = bytearray(package(method=data.draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        match data.draw(st.sampled_from(["set", "cut", "insert"])):
            case "set":
                content[place] = data.draw(st.integers(0, 255))
            case "cut":
                del content[place : place + data.draw(st.integers(1, 64))]
            case _:
                content[place:place] = data.draw(st.binary(max_size=64))
        if not content:
            return
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        with suppress(PackageError):
            assert unpack(bytes(content), root) == GOOD
        assert [path.name for path in root.iterdir()] == ["package.zip"]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.text(alphabet="aA1./\\: ü‮\0\n", max_size=12), max_size=4))
@example(["1", "1/a"])
def test_whatever_its_names_nothing_lands_outside(names: list[str]) -> None:
    held = GOOD | {name: name.encode() for name in names if name}
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):
            content = zipped([(name, held[name]) for name in held], listed(held))
    except (ValueError, IndexError):
        return
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "repository"
        root.mkdir()
        with suppress(PackageError):
            assert unpack(content, root) == held
        assert [path.name for path in Path(name).iterdir()] == ["repository"]
        assert [path.name for path in root.iterdir()] == ["package.zip"]


@given(st.text(max_size=40))
def test_path_that_passes_stays_inside(path: str) -> None:
    if not path_complaint(path):
        assert (Path("/a") / path).is_relative_to("/a")
        assert ".." not in Path(path).parts
