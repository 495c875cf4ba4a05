"""What is measured: Penstock on its servers, Penstock embedded, and the plain app, each started as its users would."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import httpx

import farm
from bench.processes import CORES, ROOT, Started, beside, listening
from settings import Settings
from storage.access import Access
from storage.connection import connect
from tests.services.ports import free_port

#: Seconds that a system has to come up.
READY_S = 60.0
#: The variables that name the servers' addresses.
SERVERS = {"rabbitmq": "PENSTOCK_BROKER_URL", "redis": "PENSTOCK_REDIS_URL", "objects": "PENSTOCK_OBJECTS_URL"}


class StartError(Exception):
    """A system did not come up."""


class System:
    """A running system: where it listens, and the processes that it consists of."""

    def __init__(self, name: str, folder: Path, *, key: str = "", servers: Mapping[str, int] | None = None) -> None:
        folder.mkdir()
        self.name = name
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.key = key
        self.folder = folder
        self.started = Started(folder)
        #: RabbitMQ, Redis and the object store, started by others.
        self._servers = dict(servers or {})

    @property
    def pids(self) -> dict[str, int]:
        return {**self.started.pids, **self._servers}

    def wait_ready(self, ready: Callable[[], bool]) -> None:
        """Raises StartError when a process ends or the time is over."""
        deadline = time.monotonic() + READY_S
        while not ready():
            if ended := self.started.ended():
                raise StartError(ended)
            if time.monotonic() > deadline:
                raise StartError(f"{self.name} was not ready after {READY_S:g} s")
            time.sleep(0.1)

    def stop(self) -> None:
        self.started.stop()


def own_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("PENSTOCK_", "PLAIN_"))}


def penstock(folder: Path, models: Path, urls: Mapping[str, str], *, pool: str = "cpu") -> System:
    """Penstock on RabbitMQ, Redis and an object store at `urls`, or embedded where there are none."""
    system = System("penstock" if urls else "embedded", folder, servers=servers(urls))
    env = own_environment() | {
        **urls,
        "PENSTOCK_PORT": str(system.port),
        "PENSTOCK_DATA": str(folder),
        "PENSTOCK_MODELS": str(models),
        **{name: value for name, value in os.environ.items() if name.startswith("PENSTOCK_GATEWAY_")},
    }
    settings = Settings.from_env(env)
    for name, command in farm.programs(settings, pools=[pool]).items():
        system.started.start(name.removesuffix(f"-{pool}"), command, env)
        if name == "store":
            system.wait_ready(settings.socket.exists)
    client = connect(settings.store_url)
    system.key = Access(client).create("bench", "bench")
    client.close()
    system.wait_ready(lambda: answers(system.url + "/readyz"))
    return system


def plain(folder: Path, models: Path, name: str, urls: Mapping[str, str]) -> System:
    """The plain app on the same RabbitMQ and Redis, with the model `name`."""
    own = {name: url for name, url in urls.items() if name != SERVERS["objects"]}
    system = System("plain", folder, key="plain-key", servers=servers(own))
    env = own_environment() | {
        "PLAIN_BROKER_URL": urls["PENSTOCK_BROKER_URL"],
        "PLAIN_REDIS_URL": urls["PENSTOCK_REDIS_URL"],
        "PLAIN_KEY": system.key,
        "PLAIN_MODEL": name,
        "PLAIN_MODELS": str(models),
        # A process runs one job at a time on one core.
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        **{name: value for name, value in os.environ.items() if name.startswith("PLAIN_")},
    }
    celery = [sys.executable, "-m", "celery", "--quiet", "-A", "bench.plain.work"]
    system.started.start(
        "worker",
        [*celery, "worker", "--concurrency", str(CORES), "--hostname", f"plain-{os.getpid()}@localhost",
         "--without-gossip", "--without-mingle", "--loglevel", "warning"],
        env,
    )  # fmt: skip
    system.started.start("web", [sys.executable, "-m", "bench.plain.serve", str(system.port)], env)
    system.wait_ready(lambda: answers(system.url + "/jobs/none", system.key))
    return system


def answers(url: str, key: str = "") -> bool:
    try:
        return httpx.get(url, headers={"Authorization": f"Bearer {key}"} if key else {}, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def servers(urls: Mapping[str, str]) -> dict[str, int]:
    """Process ids of the servers at `urls`, where they run on this machine."""
    ports = {name: urlsplit(urls[variable]).port for name, variable in SERVERS.items() if variable in urls}
    found = listening({name: port for name, port in ports.items() if port})
    return found | beside(found["objects"], "ceph-") if "objects" in found else found


def import_seconds(times: int = 5) -> list[float]:
    """How long a fresh interpreter takes to import the gateway."""
    code = "import time; begin = time.perf_counter(); import gateway.app; print(time.perf_counter() - begin)"
    command = [sys.executable, "-c", code]
    env = own_environment()
    return sorted(
        float(subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True, text=True).stdout)
        for _ in range(times)
    )
