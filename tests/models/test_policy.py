"""Which versions are served: policy, pins, what was unloaded and what failed."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from models.catalog import Catalog
from models.manifest import VersionPolicy
from models.policy import by_policy, wanted
from tests.models.repository import PLAIN, write

LATEST = VersionPolicy(latest=1)
NAMES = ["1", "2", "3", "4"]


@pytest.mark.parametrize(
    ("policy", "served"),
    [
        (None, ["10"]),
        ({"latest": 2}, ["2", "10"]),
        ({"latest": 9}, ["trial", "1", "2", "10"]),
        ("all", ["trial", "1", "2", "10"]),
        ({"specific": [1, "trial"]}, ["trial", "1"]),
    ],
)
def test_policy_of_the_manifest_says_which_versions_are_served(tmp_path: Path, policy: Any, served: list[str]) -> None:
    write(tmp_path, PLAIN | ({} if policy is None else {"version_policy": policy}))
    for version in ("2", "10", "trial"):
        (tmp_path / "plain" / version).mkdir()
    catalog = Catalog.load(tmp_path)
    assert [entry.version for entry in catalog.entries()] == served
    assert not catalog.broken


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("newest", "version_policy: Invalid enum value 'newest'"),
        ({"latest": 0}, "version_policy.latest: Expected `int` >= 1"),
        ({"specific": []}, "version_policy.specific: Expected `array` of length >= 1"),
        ({}, "version_policy: must be `all`"),
        ({"latest": 1, "specific": ["1"]}, "version_policy: must be `all`"),
    ],
)
def test_policy_that_cannot_be_meant_is_refused(tmp_path: Path, policy: Any, said: str) -> None:
    write(tmp_path, PLAIN | {"version_policy": policy})
    (broken,) = Catalog.load(tmp_path).broken
    assert said in broken.reason


def test_policy_that_names_an_absent_version_is_told_and_the_others_serve(tmp_path: Path) -> None:
    write(tmp_path, PLAIN | {"version_policy": {"specific": ["1", "7"]}})
    catalog = Catalog.load(tmp_path)
    assert [entry.version for entry in catalog.entries()] == ["1"]
    assert "version_policy names 7, which is not there" in catalog.broken[0].reason


def test_version_may_bring_a_manifest_of_its_own(tmp_path: Path) -> None:
    write(tmp_path, PLAIN | {"version_policy": "all"})
    own = PLAIN | {"inputs": [{"name": "z", "datatype": "INT64", "shape": [-1]}]}
    (tmp_path / "plain" / "2").mkdir()
    (tmp_path / "plain" / "2" / "model.yaml").write_text(yaml.safe_dump(own))
    catalog = Catalog.load(tmp_path)
    assert [entry.manifest.inputs[0].name for entry in catalog.entries()] == ["x", "z"]


def test_broken_manifest_of_a_version_breaks_that_version_only(tmp_path: Path) -> None:
    write(tmp_path, PLAIN)
    for version, text in (("2", "name: ["), ("3", yaml.safe_dump(PLAIN | {"version_policy": "all"}))):
        (tmp_path / "plain" / version).mkdir()
        (tmp_path / "plain" / version / "model.yaml").write_text(text)
    catalog = Catalog.load(tmp_path)
    assert [entry.version for entry in catalog.entries()] == ["1"]
    reasons = {item.version: item.reason for item in catalog.broken}
    assert "not YAML" in reasons["2"]
    assert "version_policy: belongs in the model's own manifest" in reasons["3"]


@pytest.mark.parametrize("name", [".2", "_2", "2.tmp", "2.partial"])
def test_folder_that_is_still_written_is_no_version(tmp_path: Path, name: str) -> None:
    write(tmp_path, PLAIN)
    (tmp_path / "plain" / name).mkdir()
    catalog = Catalog.load(tmp_path)
    assert [entry.version for entry in catalog.models["plain"]] == ["1"]
    assert not catalog.broken


def test_latest_reaches_one_further_back_for_a_version_that_failed() -> None:
    assert by_policy(NAMES, LATEST, failed={"4"}) == ["3", "4"]
    assert by_policy(NAMES, VersionPolicy(latest=2), failed={"4", "3"}) == ["1", "2", "3", "4"]


def test_unloaded_version_counts_as_if_it_were_not_there() -> None:
    assert wanted(NAMES, LATEST, unloaded={"4"}) == ["3"]
    assert wanted(NAMES, LATEST, unloaded={"4", "2"}, failed={"3"}) == ["1", "3"]
    assert wanted(["1"], LATEST, unloaded={"1"}) == []
    assert wanted(NAMES, LATEST, pinned={"2"}) == ["2", "4"]


subsets = st.sets(st.sampled_from(NAMES))


@given(st.integers(1, 5), subsets, subsets, subsets)
def test_what_is_wanted_keeps_its_promises(latest: int, pinned: set[str], unloaded: set[str], failed: set[str]) -> None:
    chosen = wanted(NAMES, VersionPolicy(latest=latest), pinned=pinned, unloaded=unloaded, failed=failed)
    assert chosen == sorted(set(chosen))
    assert not unloaded.intersection(chosen)
    assert pinned - unloaded <= set(chosen)
    # As many that work as were asked for, where there are as many.
    assert len(set(chosen) - failed) >= min(latest, len(set(NAMES) - failed - unloaded))
    assert "4" in chosen or "4" in unloaded
