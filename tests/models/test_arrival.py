"""A model comes into a repository whole, or not at all, and never in place of another."""

import fcntl
import os
import shutil
import time
from pathlib import Path

import pytest

from errors import PackageError, VersionExists
from models import arrival
from models.catalog import Catalog
from models.unpacked import Unpacked
from tests.models.packages import folder


def add(model: Path, repository: Path) -> Path:
    source = Unpacked(model)
    with arrival.incoming(repository) as place:
        made = arrival.unpack(source, place)
        arrival.check(made, source.package.version)
        return arrival.publish(made, source.package.version, repository)


def names(repository: Path) -> list[str]:
    return sorted(path.relative_to(repository).as_posix() for path in repository.rglob("*"))


def test_new_model_appears_with_all_its_files(tmp_path: Path) -> None:
    place = add(folder(tmp_path / "a"), tmp_path / "r")
    assert place == tmp_path / "r" / "plain" / "1"
    assert names(tmp_path / "r") == ["plain", "plain/1", "plain/1/weights.bin", "plain/handler.py", "plain/model.yaml"]
    assert Catalog.load(tmp_path / "r").get("plain").version == "1"


def test_second_version_stands_beside_the_first(tmp_path: Path) -> None:
    add(folder(tmp_path / "a"), tmp_path / "r")
    add(folder(tmp_path / "b", version="2", weights=b"newer"), tmp_path / "r")
    assert (tmp_path / "r/plain/1/weights.bin").read_bytes() == b"weights"
    assert (tmp_path / "r/plain/2/weights.bin").read_bytes() == b"newer"
    assert not (tmp_path / "r/plain/2/handler.py").exists()


def test_version_with_other_code_keeps_its_own(tmp_path: Path) -> None:
    add(folder(tmp_path / "a"), tmp_path / "r")
    second = folder(tmp_path / "b", version="2")
    (second / "handler.py").write_text("from .steps import Model\n")
    (second / "steps.py").write_text("class Model: ...\n")
    add(second, tmp_path / "r")
    assert (tmp_path / "r/plain/2/handler.py").read_text() == "from .steps import Model\n"
    assert (tmp_path / "r/plain/2/steps.py").is_file()
    assert "def predict" in (tmp_path / "r/plain/handler.py").read_text()
    assert arrival.present(Unpacked(second), tmp_path / "r")


def test_version_without_code_does_not_get_anothers(tmp_path: Path) -> None:
    add(folder(tmp_path / "a"), tmp_path / "r")
    second = folder(tmp_path / "b", version="2")
    (second / "handler.py").unlink()
    with pytest.raises(PackageError, match=r"r/plain/handler.py would run around this version"):
        add(second, tmp_path / "r")
    assert not (tmp_path / "r/plain/2").exists()


def test_version_with_another_manifest_keeps_its_own(tmp_path: Path) -> None:
    add(folder(tmp_path / "a"), tmp_path / "r")
    second = folder(tmp_path / "b", version="2")
    with (second / "model.yaml").open("a") as file:
        file.write("description: newer\n")
    add(second, tmp_path / "r")
    catalog = Catalog.load(tmp_path / "r")
    assert (catalog.get("plain", "1").manifest.description, catalog.get("plain").manifest.description) == ("", "newer")
    assert arrival.present(Unpacked(second), tmp_path / "r")


def test_policy_that_speaks_for_other_versions_is_refused(tmp_path: Path) -> None:
    add(folder(tmp_path / "a"), tmp_path / "r")
    second = folder(tmp_path / "b", version="2")
    with (second / "model.yaml").open("a") as file:
        file.write("version_policy: {specific: [2, 3]}\n")
    with pytest.raises(PackageError, match=r"cannot stand beside those of .*version_policy"):
        add(second, tmp_path / "r")
    assert not (tmp_path / "r/plain/2").exists()


def test_same_version_is_there_and_another_of_its_name_is_refused(tmp_path: Path) -> None:
    assert not arrival.present(Unpacked(folder(tmp_path / "a")), tmp_path / "r")
    add(tmp_path / "a/plain", tmp_path / "r")
    assert arrival.present(Unpacked(tmp_path / "a/plain"), tmp_path / "r")
    with pytest.raises(VersionExists, match="has a version 1 with other content"):
        arrival.present(Unpacked(folder(tmp_path / "b", weights=b"other")), tmp_path / "r")
    (tmp_path / "r/plain/1/extra").touch()
    with pytest.raises(VersionExists):
        arrival.present(Unpacked(tmp_path / "a/plain"), tmp_path / "r")


def test_version_that_somebody_else_put_there_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    source = Unpacked(folder(tmp_path / "a"))
    repository = tmp_path / "r"
    with arrival.incoming(repository) as place:
        made = arrival.unpack(source, place)
        add(folder(tmp_path / "b", weights=b"faster"), repository)
        with pytest.raises(VersionExists):
            arrival.publish(made, "1", repository)
    assert (repository / "plain/1/weights.bin").read_bytes() == b"faster"


def test_interrupted_arrival_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    source = Unpacked(folder(tmp_path / "a"))
    with pytest.raises(KeyboardInterrupt), arrival.incoming(tmp_path / "r") as place:
        arrival.unpack(source, place, advance=interrupt)
    assert names(tmp_path / "r") == []


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_holds_is_not(tmp_path: Path) -> None:
    left, held, fresh = (tmp_path / f".incoming-{name}" for name in ("left", "held", "fresh"))
    for path in (left, held, fresh):
        path.mkdir()
    (left / ".lock").touch()
    with (held / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with arrival.incoming(tmp_path) as place:
            assert sorted(tmp_path.iterdir()) == sorted([held, fresh, place])
        os.utime(fresh, (time.time() - 2 * arrival.ABANDONED_S,) * 2)
        arrival.sweep(tmp_path)
    assert list(tmp_path.iterdir()) == [held]


def test_broken_manifest_is_told_without_the_hidden_folder(tmp_path: Path) -> None:
    with arrival.incoming(tmp_path) as place:
        (place / "plain" / "1").mkdir(parents=True)
        (place / "plain" / "model.yaml").write_text("name: plain\n")
        with pytest.raises(PackageError, match=r"manifest is wrong: plain/model.yaml: \(top\): .*required field"):
            arrival.check(place / "plain", "1")


def test_full_disk_is_told_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Unpacked(folder(tmp_path / "a"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("Usage", (), {"free": 3}))
    with pytest.raises(PackageError, match="3 left"), arrival.incoming(tmp_path / "r") as place:
        arrival.unpack(source, place)
