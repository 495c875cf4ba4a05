"""What a worker begins and ends as versions come, fail, are pinned, unloaded and replaced."""

from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from models.catalog import Entry
from models.manifest import Manifest, Tensor, VersionPolicy
from workers.plan import Plan, plan

X = (Tensor("x", "FP32", (-1,)),)


class Held(NamedTuple):
    entry: Entry
    ready: bool = True
    failed: bool = False


def entry(version: str, *, inode: int = 0, **changes: Any) -> Entry:
    return Entry(Manifest(name="echo", runtime="python", inputs=X, outputs=X, **changes), version, Path(version), inode)


def told(found: Plan[Held]) -> tuple[list[str], list[str], list[str]]:
    return (
        [one.version for one in found.start],
        [one.entry.version for one in found.drain],
        [one.entry.version for one in found.replaced],
    )


ONE, TWO, THREE = entry("1"), entry("2"), entry("3")


@pytest.mark.parametrize(
    ("held", "start", "drain"),
    [
        pytest.param([], ["2"], [], id="the newest is begun"),
        pytest.param([Held(ONE)], ["2"], [], id="the old one is held while the new one is not even begun"),
        pytest.param([Held(ONE), Held(TWO, ready=False)], [], [], id="and while it loads"),
        pytest.param([Held(ONE), Held(TWO)], [], ["1"], id="and is drained once it is ready"),
        pytest.param([Held(ONE), Held(TWO, ready=False, failed=True)], [], [], id="and is held where it fails"),
        pytest.param([Held(TWO, ready=False, failed=True)], ["1"], [], id="an older one serves for one that fails"),
    ],
)
def test_new_version_takes_over_from_the_old_one(held: list[Held], start: list[str], drain: list[str]) -> None:
    assert told(plan([ONE, TWO], held)) == (start, drain, [])


def test_one_executor_of_several_that_failed_is_no_failed_version() -> None:
    assert told(plan([ONE, TWO], [Held(TWO, ready=True, failed=True)])) == ([], [], [])


def test_failing_version_does_not_keep_those_that_nobody_wants() -> None:
    held = [Held(ONE), Held(TWO), Held(THREE, ready=False, failed=True)]
    assert told(plan([ONE, TWO, THREE], held)) == ([], ["1"], [])


def test_pinned_version_stays_beside_the_newest() -> None:
    assert told(plan([ONE, TWO], [Held(ONE), Held(TWO)], pinned={"1"})) == ([], [], [])
    assert told(plan([ONE, TWO], [], pinned={"1"})) == (["1", "2"], [], [])


def test_unloaded_version_is_drained_even_where_nothing_takes_its_place() -> None:
    assert told(plan([ONE], [Held(ONE)], unloaded={"1"})) == ([], ["1"], [])
    assert told(plan([ONE, TWO], [Held(ONE), Held(TWO)], unloaded={"2"})) == ([], ["2"], [])
    assert told(plan([ONE, TWO], [Held(TWO)], unloaded={"2"})) == (["1"], ["2"], [])


def test_version_with_jobs_that_nobody_serves_is_begun_whatever_is_wanted() -> None:
    assert told(plan([ONE, TWO], [Held(TWO)], waiting={"1"})) == (["1"], [], [])
    assert told(plan([ONE, TWO], [Held(TWO)], unloaded={"1"}, waiting={"1", "gone"})) == (["1"], [], [])


def test_version_whose_folder_is_gone_is_drained_when_another_serves() -> None:
    assert told(plan([TWO], [Held(ONE), Held(TWO, ready=False)])) == ([], [], [])
    assert told(plan([TWO], [Held(ONE), Held(TWO)])) == ([], ["1"], [])
    assert told(plan([], [Held(ONE)])) == ([], ["1"], [])


@pytest.mark.parametrize("anew", [entry("1", inode=7), entry("1", threads=3)], ids=["other content", "other manifest"])
def test_version_made_anew_replaces_itself_once_it_is_ready(anew: Entry) -> None:
    assert told(plan([anew], [Held(ONE)])) == (["1"], [], [])
    assert told(plan([anew], [Held(ONE), Held(anew, ready=False)])) == ([], [], [])
    assert told(plan([anew], [Held(ONE), Held(anew)])) == ([], [], ["1"])


def test_change_of_policy_reloads_nothing() -> None:
    both = [
        msgspec.structs.replace(
            one, manifest=msgspec.structs.replace(one.manifest, version_policy=VersionPolicy(latest=2))
        )
        for one in (ONE, TWO)
    ]
    assert told(plan(both, [Held(ONE), Held(TWO)])) == ([], [], [])
