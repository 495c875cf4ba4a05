"""No key leaves the folder, and no half-written file is ever seen in it."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from errors import InputChanged, InvalidInput, NotFound, ObjectsUnavailable
from storage.folder import ABANDONED_S, UNFINISHED, Folder

PART = st.one_of(st.sampled_from(["..", ".", "", "a", "~", "%2e%2e", "C:", "\0", "..\\.."]), st.text(max_size=5))


@given(key=st.lists(PART, min_size=1, max_size=6).map("/".join))
@example(key="a/../../outside")
@example(key="/outside")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
def test_no_key_reaches_outside_the_folder(tmp_path: Path, key: str) -> None:
    root = tmp_path / "objects"
    before = files(tmp_path, root)
    folder = Folder(root)
    try:
        folder.put(key, [b"x"])
    except (InvalidInput, ObjectsUnavailable):
        pass
    else:
        assert list(folder.keys(key)) == [key]
        assert folder.read(key) == b"x"
        folder.delete(key)
    assert files(tmp_path, root) == before


@given(key=st.text(min_size=1, max_size=30).filter(lambda text: "/" not in text))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_refused_keys_are_refused_by_every_call(tmp_path: Path, key: str) -> None:
    folder = Folder(tmp_path / "objects")
    try:
        folder.size(key)
    except InvalidInput:
        for call in (folder.open, folder.read, folder.delete, lambda key: folder.put(key, [b"x"])):
            with pytest.raises(InvalidInput):
                call(key)


def test_symbolic_names_and_long_names_are_refused(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.put("n" * 255, [b"x"])
    for key in ("n" * 256, "é" * 128, "/".join(["n" * 200] * 6)):
        with pytest.raises(InvalidInput):
            folder.put(key, [b"x"])


def test_reader_sees_the_old_or_the_new_object_and_never_a_mixture(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.put("key", [b"a" * 100_000])
    done = threading.Event()
    seen: set[bytes] = set()

    def read() -> None:
        while not done.is_set():
            seen.add(folder.read("key"))

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(20):
        folder.put("key", [b"b" * 50_000, b"b" * 50_000])
        folder.put("key", [b"a" * 100_000])
    done.set()
    reader.join()
    assert seen <= {b"a" * 100_000, b"b" * 100_000}


def test_killed_upload_shows_nothing_and_is_swept_a_day_later(tmp_path: Path) -> None:
    program = (
        "import sys, os; from pathlib import Path; from storage.folder import Folder\n"
        "def chunks():\n    yield bytes(10**6)\n    os.kill(os.getpid(), 9)\n"
        "Folder(Path(sys.argv[1])).put('key', chunks())"
    )
    assert subprocess.run([sys.executable, "-c", program, tmp_path], cwd=Path(__file__).parents[2]).returncode == -9
    folder = Folder(tmp_path)
    assert list(folder.keys()) == []
    [left] = (tmp_path / UNFINISHED).iterdir()
    os.utime(left, times=(0, time.time() - ABANDONED_S - 1))
    Folder(tmp_path)
    assert not left.exists()


def test_deleting_the_last_object_removes_its_empty_folders(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.put("acme/jobs/1/out", [b"x"])
    folder.delete("acme/jobs/1/out")
    assert [entry.name for entry in tmp_path.iterdir()] == [UNFINISHED]


def test_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    folder = Folder(tmp_path / "file" / "objects")
    with pytest.raises(ObjectsUnavailable):
        folder.ready()
    with pytest.raises(ObjectsUnavailable):
        folder.put("key", [b"x"])


def test_folder_side_loads_no_s3_client() -> None:
    program = "import sys, storage.objects as o; o.open_objects('file:///tmp/x'); sys.exit('minio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[2]).returncode == 0


def files(folder: Path, apart_from: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if apart_from not in (path, *path.parents)}


def test_file_that_is_written_to_in_place_is_another_version(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.put("file", [b"x" * 600_000])
    found = folder.stat("file")
    assert found is not None
    reading = folder.open("file", etag=found.etag)
    next(reading)
    with (tmp_path / "file").open("ab") as file:
        file.write(b"more")
    with pytest.raises(InputChanged):
        next(reading)


def test_parts_that_nobody_adds_to_are_swept_and_others_stay(tmp_path: Path) -> None:
    uploads = Folder(tmp_path).multipart()
    old, young = uploads.begin("acme/old"), uploads.begin("acme/young")
    for key, id in (("acme/old", old), ("acme/young", young)):
        uploads.put(key, id, 1, [b"x"], offset=0, length=1)
    for path in [uploads._folder("acme/old") / old, uploads._folder("acme/old")]:
        os.utime(path, (0, 0))
    Folder(tmp_path)
    assert [part.number for part in uploads.parts("acme/young", young)] == [1]
    with pytest.raises(NotFound):
        uploads.parts("acme/old", old)
