"""A repository that changes while it is served."""

import itertools
import shutil
from pathlib import Path

import pytest
import yaml

from models.repository import Repository
from tests.models.repository import PLAIN, write


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """Looked at once a second, by its own clock."""
    write(tmp_path, PLAIN | {"version_policy": "all"})
    return Repository(tmp_path, clock_s=itertools.count().__next__)


def served(repository: Repository) -> dict[str, list[str]]:
    catalog = repository.refresh()
    return {name: [entry.version for entry in entries] for name, entries in catalog.models.items()}


def publish(repository: Repository, version: str, **files: str) -> Path:
    """A version's folder, written aside and renamed into place."""
    aside, place = repository.path / "plain" / f".{version}.new", repository.path / "plain" / version
    aside.mkdir()
    for name, text in files.items():
        (aside / name).write_text(text)
    return aside.rename(place)


def test_nothing_new_is_the_same_catalog(repository: Repository) -> None:
    first = repository.catalog
    assert repository.refresh() is first


def test_version_counts_once_two_looks_saw_the_same(repository: Repository) -> None:
    publish(repository, "2", weights="w")
    assert served(repository) == {"plain": ["1"]}
    assert served(repository) == {"plain": ["1", "2"]}
    assert repository.refresh() is repository.catalog


def test_looks_in_quick_succession_settle_nothing(tmp_path: Path) -> None:
    write(tmp_path, PLAIN | {"version_policy": "all"})
    repository = Repository(tmp_path, clock_s=lambda: 0.0)
    publish(repository, "2")
    assert [served(repository) for _ in range(3)] == [{"plain": ["1"]}] * 3


def test_folder_that_grows_does_not_count(repository: Repository) -> None:
    folder = publish(repository, "2", weights="w")
    for length in range(2, 6):
        assert served(repository) == {"plain": ["1"]}
        (folder / "weights").write_text("w" * length)
    served(repository)
    assert served(repository) == {"plain": ["1", "2"]}


def test_version_and_model_that_go_are_forgotten(repository: Repository) -> None:
    publish(repository, "2")
    served(repository), served(repository)
    shutil.rmtree(repository.path / "plain" / "1")
    assert served(repository) == {"plain": ["2"]}
    shutil.rmtree(repository.path / "plain")
    assert served(repository) == {}


def test_new_model_appears(repository: Repository) -> None:
    write(repository.path, PLAIN | {"name": "another"}, name="another")
    served(repository)
    assert served(repository) == {"another": ["1"], "plain": ["1"]}


def test_spoilt_manifest_leaves_what_was_served_and_says_why(repository: Repository) -> None:
    file = repository.path / "plain" / "model.yaml"
    good = file.read_text()
    file.write_text("name: [")
    assert served(repository) == {"plain": ["1"]}
    assert "not YAML" in repository.catalog.broken[0].reason
    file.write_text(good)
    assert served(repository) == {"plain": ["1"]}
    assert repository.catalog.broken == ()


def test_changed_manifest_is_read_again(repository: Repository) -> None:
    (repository.path / "plain" / "model.yaml").write_text(yaml.safe_dump(PLAIN | {"instances": 3}))
    assert repository.refresh().get("plain").manifest.instances == 3


def test_folder_put_in_place_of_another_is_another_version(repository: Repository) -> None:
    before = repository.catalog.get("plain")
    (repository.path / "plain" / "1").rename(repository.path / "plain" / ".old")
    publish(repository, "1", weights="other")
    served(repository), served(repository)
    assert repository.catalog.get("plain").inode != before.inode


def test_repository_that_vanishes_keeps_what_is_known(repository: Repository) -> None:
    repository.path.rename(repository.path.with_name("elsewhere"))
    assert served(repository) == {"plain": ["1"]}
