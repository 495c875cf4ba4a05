"""Which version a job gets: what was asked for, traffic, labels, readiness."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from errors import NotLoaded, UnknownModel
from gateway.choosing import Choice
from models.catalog import Entry
from models.manifest import Manifest, Tensor, VersionPolicy
from storage.deployments import Deployment
from storage.workers import ModelState, ModelStatus
from tests.gateway.gate import Gate

X = (Tensor("x", "FP32", (-1,)),)


LATEST = VersionPolicy(latest=1)


def choice(policy: Any = LATEST, *, versions: str = "123", wish: Any = (), **said: ModelState) -> Choice:
    """`said`: what workers say, as `v1="ready"`."""
    entries = [
        Entry(Manifest(name="echo", runtime="python", inputs=X, outputs=X, version_policy=policy), version, Path())
        for version in versions
    ]
    statuses = {
        name[1:]: [ModelStatus(model="echo", version=name[1:], state=state, reason="why" if state == "failed" else "")]
        for name, state in said.items()
    }
    return Choice(entries, wish or Deployment(), statuses)


def default(found: Choice) -> str:
    return found.default(0.0).version


@pytest.mark.parametrize(
    ("said", "version"),
    [
        pytest.param({}, "3", id="without a worker: the newest"),
        pytest.param({"v3": "ready", "v2": "ready"}, "3", id="the newest that is ready"),
        pytest.param({"v3": "loading", "v2": "ready"}, "2", id="the old one while the new one loads"),
        pytest.param({"v3": "failed", "v2": "ready"}, "2", id="the old one where the new one fails"),
        pytest.param({"v3": "failed"}, "2", id="the newest that is not known to fail"),
        pytest.param({"v3": "ready", "v2": "draining"}, "3", id="none that drains"),
    ],
)
def test_job_without_a_version_gets_the_newest_that_can_run_it(said: dict[str, ModelState], version: str) -> None:
    assert default(choice(**said)) == version


def test_version_loaded_by_hand_takes_no_traffic_by_itself() -> None:
    wish = Deployment().load("3")
    found = choice(VersionPolicy(specific=("1",)), wish=wish, v1="ready", v3="ready")
    assert default(found) == "1"
    assert found.open == ("1", "3")


def test_stable_wins_over_newer_and_traffic_over_stable() -> None:
    wish = Deployment().label("stable", "1")
    assert default(choice(wish=wish, v1="ready", v3="ready")) == "1"
    found = choice(wish=wish.split({"1": 90, "3": 10}), v1="ready", v3="ready")
    assert found.split == {"1": 90, "3": 10}
    assert [state.share for state in found.states()] == [0.9, 0, 0.1]


def test_label_is_a_name_for_its_version() -> None:
    found = choice(wish=Deployment().label("canary", "2"), v2="ready", v3="ready")
    entry = found.find("canary")
    assert entry is not None
    assert entry.version == "2"
    assert found.find("stable") is None


def test_version_that_nobody_is_to_serve_takes_no_job() -> None:
    found = choice(v3="ready", v2="draining")
    assert found.find("1") is found.find("2") is None
    assert [(state.version, state.state) for state in found.states()] == [
        ("1", "not_loaded"), ("2", "draining"), ("3", "ready"),
    ]  # fmt: skip


def test_unloaded_version_takes_no_job_at_once_though_it_still_is_ready() -> None:
    found = choice(wish=Deployment().unload("3"), v3="ready")
    assert found.find("3") is None
    assert default(found) == "2"
    with pytest.raises(NotLoaded, match="an operator has unloaded"):
        choice(versions="3", wish=Deployment().unload("3"), v3="ready").default(0.0)


@given(
    st.dictionaries(st.sampled_from("123"), st.floats(0.001, 1000), min_size=1),
    st.integers(100, 400),
)
def test_traffic_is_split_by_weight(weights: dict[str, float], count: int) -> None:
    found = choice("all", wish=Deployment().split(weights))
    got = [found.default(index / count).version for index in range(count)]
    for version in "123":
        share = weights.get(version, 0) / sum(weights.values())
        assert abs(got.count(version) - share * count) <= 2


def test_share_of_a_version_whose_folder_is_gone_goes_to_the_others() -> None:
    assert choice("all", versions="12", wish=Deployment().split({"1": 1, "3": 9})).split == {"1": 1}


@pytest.fixture
def rolls() -> Iterator[float]:
    return iter([0.1, 0.6, 0.7, 0.2])


def test_jobs_are_pinned_as_traffic_splits_them(make: Callable[..., Gate], rolls: Iterator[float]) -> None:
    gate = make()
    gate.parts.resolver._roll = lambda: next(rolls)
    gate.parts.deployments.change("reader", lambda wish: wish.split({"1": 50, "2": 50}))
    gate.parts.resolver.look()
    jobs = [gate.submit({"model": "reader", "inputs": {"image": "x"}}) for _ in range(4)]
    assert [gate.client.get(f"/v1/jobs/{id}").json["version"] for id in jobs] == ["1", "2", "2", "1"]


def test_job_may_ask_for_a_label(gate: Gate) -> None:
    gate.parts.deployments.change("reader", lambda wish: wish.label("canary", "1"))
    gate.parts.resolver.look()
    id = gate.submit({"model": "reader", "version": "canary", "inputs": {"image": "x"}})
    assert gate.client.get(f"/v1/jobs/{id}").json["version"] == "1"


def test_version_that_is_not_loaded_is_refused_with_what_to_do(gate: Gate) -> None:
    gate.parts.deployments.change("reader", lambda wish: wish.unload("1"))
    gate.parts.resolver.look()
    answer = gate.client.post("/v1/jobs", json={"model": "reader", "version": "1", "inputs": {"image": "x"}})
    assert (answer.status_code, answer.json["code"]) == (409, "not_loaded")
    assert "loaded: 2; an operator can load it: penstock models load reader 1" in answer.json["detail"]
    with pytest.raises(UnknownModel, match="has no version '9'"):
        gate.parts.resolver.get("reader", "9")


def test_store_that_is_away_leaves_the_snapshot(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    gate.parts.deployments.change("reader", lambda wish: wish.promote("1"))
    gate.parts.resolver.look()
    monkeypatch.setattr(gate.parts.register, "all", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        gate.parts.resolver.look()
    assert gate.parts.resolver.get("reader").version == "1"
