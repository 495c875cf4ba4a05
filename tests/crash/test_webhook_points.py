"""The orchestrator dies at each step from a job's end to its webhook's: told all the same, under one id."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage import keys
from storage.deliveries import Deliveries, Delivery
from tests.crash.drill import INJECTOR
from tests.crash.points import Point
from tests.farm.conftest import embedded
from tests.farm.harness import Farm
from tests.farm.repository import build
from tests.receiver import Receiver, receiving

pytestmark = [pytest.mark.farm, pytest.mark.xdist_group("crash-webhooks")]

STORE = "storage.deliveries"
POINTS: dict[str, Point] = {
    "before-expand": Point("orchestrator", STORE, "Deliveries.expand", "before"),
    "after-expand": Point("orchestrator", STORE, "Deliveries.expand", "after"),
    "after-dispatch": Point("orchestrator", STORE, "Deliveries.dispatch", "after"),
    "before-take": Point("orchestrator", STORE, "Deliveries.take", "before"),
    "after-take": Point("orchestrator", STORE, "Deliveries.take", "after"),
    "after-signing": Point("orchestrator", "tasks.webhooks.signing", "headers", "after"),
    "before-note": Point("orchestrator", STORE, "Deliveries.attempted", "before"),
    "after-note": Point("orchestrator", STORE, "Deliveries.attempted", "after"),
}
#: Where the receiver has the webhook before the sender dies, so that it comes twice.
SENT = {"before-note"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("f") / "crash"


@pytest.fixture(scope="module")
def farm(folder: Path) -> Iterator[Farm]:
    farm = embedded(folder.parent, build(folder.parent / "models", "echo"))
    try:
        folder.mkdir()
        (folder / "points.json").write_text(json.dumps(POINTS))
        farm.env |= {"PYTHONPATH": str(INJECTOR), "CRASH_FOLDER": str(folder)}
        farm.start()
        farm.wait_ready()
        yield farm
    finally:
        farm.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def deliveries(farm: Farm, job: str) -> list[Delivery]:
    return Deliveries(farm.redis).of(job)


def leases_run_out(farm: Farm, job: str) -> None:
    """As the dead sender's would in time."""
    farm.redis.delete(keys.lock("webhooks"))
    for one in deliveries(farm, job):
        if one.state == "pending":
            farm.redis.delete(keys.sending(one.target), keys.sending(one.tenant))
            farm.redis.zadd(keys.target(one.target), {one.id: 0})
            Deliveries(farm.redis).wake(one.target)


@pytest.mark.parametrize("step", POINTS)
def test_death_at_a_step_leaves_no_webhook_unsent(farm: Farm, folder: Path, receiver: Receiver, step: str) -> None:
    armed = folder / step
    armed.touch()
    with farm.client() as client:
        job = client.jobs.submit("echo", {"x": [1.0] * 16}, webhook=receiver.url(), wait_s=30)
    assert job.status == "succeeded"
    farm.until(lambda: not armed.exists(), f"the orchestrator came to {step}")
    farm.kill("orchestrator")
    leases_run_out(farm, job.id)
    farm.start("orchestrator")
    (delivery,) = farm.until(
        lambda: [one for one in deliveries(farm, job.id) if one.state == "delivered"], "the webhook is delivered"
    )
    assert {one.id for one in receiver.received} == {delivery.id}
    assert len(receiver.received) == (2 if step in SENT else 1)
    with farm.client() as client:
        assert client.jobs.get(job.id).webhook_status == "delivered"
    assert Deliveries(farm.redis).untold() == 0
