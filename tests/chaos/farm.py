"""The farm that chaos is made in: real servers, and a breakable network between each process and each server."""

import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from storage.access import Access
from tests.chaos import models
from tests.chaos.proxy import Link, Proxies
from tests.chaos.tmpfs import mounted
from tests.farm.harness import ROOT, Farm
from tests.services.ceph import Ceph, ceph_service
from tests.services.process import Service
from tests.services.rabbitmq import RabbitMQ, rabbitmq_service
from tests.services.rabbitmq_cluster import RabbitMQCluster, rabbitmq_cluster
from tests.services.redis_ import redis_service
from tests.services.valkey import valkey_service

PROCESSES = ("gateway", "worker-cpu", "orchestrator")
SETTINGS = {"broker": "PENSTOCK_BROKER_URL", "redis": "PENSTOCK_REDIS_URL", "objects": "PENSTOCK_OBJECTS_URL"}
TENANT = "acme"


class Way(StrEnum):
    """What the farm runs on."""

    #: One RabbitMQ, Redis, S3.
    SERVERS = "servers"
    #: Three RabbitMQ nodes, Redis, S3.
    CLUSTER = "cluster"
    #: One Valkey is store and broker.
    EMBEDDED = "embedded"


class ChaosFarm(Farm):
    """A farm each of whose processes has links and a clock of its own."""

    def __init__(
        self, folder: Path, services: Mapping[str, Service], urls: Mapping[str, str], *, settings: Mapping[str, str]
    ) -> None:
        self.book = folder / "book"
        repository = models.build(folder / "models", self.book)
        super().__init__(folder, repository, services, {**urls, **settings})
        self.tenant = TENANT if urls else "local"
        links = [
            Link(f"{process}/{server}", *ports_of(services[server], urls[name]), amqp=server == "broker")
            for process in PROCESSES
            for server, name in SETTINGS.items()
            if name in urls
        ]
        self.proxies = Proxies(*links)
        self.clocks = {process: Clock(folder / f"{process}.clock") for process in PROCESSES}
        #: Mount points of the servers' data that is limited.
        self.disks: dict[str, Path] = {}
        #: What is wrong with the farm itself, in words.
        self.complaints: list[str] = []
        #: Ids of the jobs whose messages were purged.
        self.purged: list[str] = []
        #: The link that faults of the network are made on; "": any.
        self.only = ""
        #: Where the newest fault was made.
        self.where = ""
        if urls:
            self.key = Access(self.redis).create(TENANT, "chaos", admin=True)

    def start(self, *names: str) -> None:
        for name in names or PROCESSES:
            with (self.folder / f"{name}.log").open("ab") as log:
                self.processes[name] = subprocess.Popen(
                    self.command(name), env=self.env_of(name), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log,
                    stderr=log, start_new_session=True,
                )  # fmt: skip

    def command(self, name: str) -> list[str]:
        """The process's command; it ends with this one, however this one ends."""
        return [sys.executable, str(ROOT / "farm.py"), "exec", *self._commands[name]]

    @property
    def pika_url(self) -> str:
        """The broker itself, past every link; kombu writes the vhost `/` as `//`, everybody else as `/%2F`."""
        return "" if self.settings.embedded else self.settings.broker_url.removesuffix("//") + "/%2F"

    def ready(self) -> bool:
        return self._ready()

    def note(self, where: str) -> None:
        self.where = where

    def env_of(self, process: str) -> dict[str, str]:
        """The process's environment: its servers are its links' ends, its clock is its own."""
        env = self.env | {
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).with_name("clock")), os.environ.get("PYTHONPATH", "")]),
            "CHAOS_CLOCK": str(self.clocks[process].path),
        }
        for server, name in SETTINGS.items():
            if f"{process}/{server}" in self.proxies.links:
                env[name] = with_port(env[name], self.proxies.links[f"{process}/{server}"].port)
        return env


class Clock:
    """What a process takes for the time: the real one, and so much."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.shift(0)

    def shift(self, by_s: float) -> None:
        # In place: the process has mapped these bytes.
        mode = "r+b" if self.path.exists() else "wb"
        with self.path.open(mode) as file:
            file.write(struct.pack("<q", round(by_s * 1000)))


def ports_of(service: Service, url: str) -> tuple[int, ...]:
    """Where the server listens; of a cluster, each node."""
    return service.ports if isinstance(service, RabbitMQCluster) else (urlsplit(url).port or 0,)


def with_port(url: str, port: int) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{parts.netloc.rpartition(':')[0]}:{port}"))


@contextmanager
def running(folder: Path, way: Way, *, settings: Mapping[str, str] | None = None) -> Iterator[ChaosFarm]:
    """A farm that is ready, with its servers; gone at the end."""
    with ExitStack() as stack:
        services, urls, disks = SERVICES[way](folder, stack)
        for service in services.values():
            stack.callback(service.stop)
            service.launch()
        for service in services.values():
            service.wait_ready()
        farm = ChaosFarm(folder, services, urls, settings=settings or {})
        farm.disks = disks
        farm.proxies.start()
        stack.callback(farm.proxies.close)
        stack.callback(farm.close)
        farm.start()
        farm.wait_ready()
        yield farm


Services = tuple[dict[str, Service], dict[str, str], dict[str, Path]]


def embedded_services(folder: Path, stack: ExitStack) -> Services:
    return {"redis": valkey_service(folder)}, {}, {}


def real_services(folder: Path, stack: ExitStack) -> Services:
    return with_broker(rabbitmq_service(folder / "rabbitmq"), folder, stack)


def cluster_services(folder: Path, stack: ExitStack) -> Services:
    return with_broker(rabbitmq_cluster(folder / "rabbitmq"), folder, stack)


def with_broker(broker: RabbitMQ, folder: Path, stack: ExitStack) -> Services:
    disk = folder / "redis"
    limited = stack.enter_context(mounted(disk))
    redis = redis_service(disk)
    objects: Ceph = ceph_service(folder / "ceph")
    urls = {"broker": broker.url, "redis": redis.url, "objects": objects.url}
    return (
        {"broker": broker, "redis": redis, "objects": objects},
        {SETTINGS[name]: url for name, url in urls.items()},
        {"redis": disk} if limited else {},
    )


SERVICES: dict[Way, Callable[[Path, ExitStack], Services]] = {
    Way.SERVERS: real_services,
    Way.CLUSTER: cluster_services,
    Way.EMBEDDED: embedded_services,
}
