"""What operators ask for: labels, traffic, loads; changed by copy, and replaced only by who is not too late."""

import threading

import hypothesis.strategies as st
import pytest
import redis
from hypothesis import given

from errors import InvalidInput, VersionConflict
from storage.deployments import Deployment, Deployments

VERSIONS = st.sampled_from(["1", "2", "3"])


def test_promotion_remembers_what_it_replaced_and_can_be_rolled_back() -> None:
    first = Deployment().promote("2", before="1")
    assert (first.labels, first.previous, first.pinned) == ({"stable": "2"}, "1", frozenset("12"))
    back = first.rollback()
    assert (back.labels, back.previous) == ({"stable": "1"}, "2")
    assert back.rollback().labels == {"stable": "2"}
    with pytest.raises(VersionConflict, match="no promotion to roll back"):
        Deployment().rollback()


def test_promotion_of_what_is_stable_forgets_nothing() -> None:
    promoted = Deployment().promote("2", before="1")
    assert promoted.promote("2") == promoted


def test_promotion_ends_a_split() -> None:
    assert Deployment().split({"1": 90, "2": 10}).promote("2", before="1").traffic == {}


def test_label_stable_is_a_promotion_that_leaves_the_traffic() -> None:
    labelled = Deployment().split({"1": 90, "2": 10}).label("stable", "2", before="1")
    assert (labelled.traffic, labelled.previous) == ({"1": 90, "2": 10}, "1")


def test_version_that_is_pointed_at_cannot_be_unloaded() -> None:
    with pytest.raises(VersionConflict, match="label 'canary' points at version 2"):
        Deployment().label("canary", "2").unload("2")
    with pytest.raises(VersionConflict, match="gets a share of the traffic"):
        Deployment().split({"2": 1}).unload("2")


def test_unloading_gives_up_the_way_back() -> None:
    unloaded = Deployment().promote("2", before="1").unload("1")
    assert (unloaded.previous, unloaded.pinned) == ("", frozenset("2"))


@pytest.mark.parametrize("label", ["", "1", "-x", "Stable", "a" * 33, "a.b"])
def test_label_that_could_be_a_version_is_refused(label: str) -> None:
    with pytest.raises(InvalidInput, match="a label must match"):
        Deployment().label(label, "1")


def test_weights_of_nothing_are_refused_and_none_at_all_end_the_split() -> None:
    with pytest.raises(InvalidInput, match="every weight is 0"):
        Deployment().split({"1": 0})
    assert Deployment().split({"1": 1, "2": 0}).traffic == {"1": 1}
    assert Deployment().split({"1": 1}).split({}).traffic == {}


@given(st.lists(st.tuples(st.sampled_from(["load", "unload", "label", "promote", "rollback", "split"]), VERSIONS)))
def test_nothing_pointed_at_is_ever_unloaded(steps: list[tuple[str, str]]) -> None:
    wish = Deployment()
    for verb, version in steps:
        before = wish
        try:
            if verb == "label":
                wish = wish.label("canary", version)
            elif verb == "split":
                wish = wish.split({version: 1})
            elif verb == "rollback":
                wish = wish.rollback()
            else:
                wish = getattr(wish, verb)(version)
        except VersionConflict:
            assert wish == before
        assert not wish.pinned.intersection(wish.unloaded)
        assert wish.revision == before.revision + (wish != before)


def test_changes_at_once_are_all_kept(store: "redis.Redis") -> None:
    deployments = Deployments(store)

    def label(name: str) -> None:
        deployments.change("echo", lambda wish: wish.label(name, "1"))

    threads = [threading.Thread(target=label, args=(f"l{n}",)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(deployments.get("echo").labels) == {f"l{n}" for n in range(12)}
    assert deployments.all() == {"echo": deployments.get("echo")}
    assert deployments.get("echo").revision == 12


def test_change_that_is_refused_leaves_the_record(store: "redis.Redis") -> None:
    deployments = Deployments(store)
    deployments.change("echo", lambda wish: wish.label("canary", "1"))
    with pytest.raises(VersionConflict):
        deployments.change("echo", lambda wish: wish.unload("1"))
    assert deployments.get("echo").unloaded == ()
    assert deployments.get("other") == Deployment()
