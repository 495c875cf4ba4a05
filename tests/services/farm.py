"""All three servers of a farm, started side by side."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.services.ceph import Ceph, ceph_service
from tests.services.process import Service
from tests.services.rabbitmq import RabbitMQ, rabbitmq_service
from tests.services.redis_ import Redis, redis_service

#: Ready-made vhosts `gw0`…, one for each parallel test process: making one by hand takes seconds.
WORKERS = 8


@dataclass(frozen=True)
class Farm:
    rabbitmq: RabbitMQ
    redis: Redis
    ceph: Ceph

    @property
    def services(self) -> tuple[Service, ...]:
        return (self.rabbitmq, self.ceph, self.redis)

    @property
    def urls(self) -> Mapping[str, str]:
        """The settings that point Penstock at these servers, and the same for the test suite."""
        urls = {"BROKER_URL": self.rabbitmq.url, "REDIS_URL": self.redis.url, "OBJECTS_URL": self.ceph.url}
        return {prefix + name: url for prefix in ("PENSTOCK_", "PENSTOCK_TEST_") for name, url in urls.items()}

    def start(self) -> None:
        """RabbitMQ takes five seconds or more; the others come up meanwhile."""
        for service in self.services:
            service.launch()
        for service in self.services:
            service.wait_ready()

    def stop(self) -> None:
        for service in self.services:
            service.stop()


@contextmanager
def running_farm() -> Iterator[Farm]:
    """A farm's servers in a temporary folder, gone at the end."""
    with tempfile.TemporaryDirectory(prefix="penstock-") as name:
        folder = Path(name)
        vhosts = [f"gw{number}" for number in range(WORKERS)]
        farm = Farm(
            rabbitmq_service(folder / "rabbitmq", vhosts=vhosts),
            redis_service(folder / "redis"),
            ceph_service(folder / "ceph"),
        )
        try:
            farm.start()
            yield farm
        finally:
            farm.stop()
