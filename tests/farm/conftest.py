"""The two ways to run, as one fixture: every test here runs embedded and against real servers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.access import Access
from tests.farm.harness import Farm
from tests.farm.repository import build
from tests.services.fixtures import require_servers
from tests.services.process import Service
from tests.services.valkey import valkey_service


def embedded(folder: Path, repository: Path) -> Farm:
    store = valkey_service(folder)
    store.start()
    return Farm(folder, repository, {"store": store}, {})


def servers(folder: Path, repository: Path) -> Farm:
    from tests.services.ceph import ceph_service
    from tests.services.rabbitmq import rabbitmq_service
    from tests.services.redis_ import redis_service

    broker = rabbitmq_service(folder / "rabbitmq")
    redis = redis_service(folder / "redis")
    objects = ceph_service(folder / "ceph")
    services: dict[str, Service] = {"broker": broker, "redis": redis, "objects": objects}
    for service in services.values():
        service.launch()
    for service in services.values():
        service.wait_ready()
    urls = {
        "PENSTOCK_BROKER_URL": broker.url,
        "PENSTOCK_REDIS_URL": redis.url,
        "PENSTOCK_OBJECTS_URL": objects.url,
    }
    farm = Farm(folder, repository, services, urls)
    farm.key = Access(farm.redis).create("acme", "tests", admin=True)
    return farm


#: Each way's tests stay on one test process, so that its farm is started once.
WAYS = [
    pytest.param(embedded, id="embedded", marks=[pytest.mark.farm, pytest.mark.xdist_group("embedded")]),
    pytest.param(
        servers, id="servers", marks=[pytest.mark.farm, pytest.mark.service, pytest.mark.xdist_group("servers")]
    ),
]


@pytest.fixture(scope="session", params=WAYS)
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    if request.param is servers:
        require_servers()
    folder = tmp_path_factory.mktemp("f")
    farm = request.param(folder, build(folder / "models"))
    try:
        farm.start()
        farm.wait_ready()
        yield farm
    finally:
        farm.close()


@pytest.fixture
def farm(running: Farm) -> Farm:
    """The farm with all its processes up, whatever the test before did to them."""
    missing = [name for name in ("gateway", "worker-cpu", "orchestrator") if name not in running.processes]
    if missing:
        running.start(*missing)
        running.wait_ready()
    return running
