"""A whole farm for a test: its servers, and Penstock's own processes started as an operator starts them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

import httpx
import redis
from penstock import Job, Penstock, Submission

import farm as one_machine
from settings import Settings
from storage.connection import connect
from storage.jobs import JobStore
from storage.workers import Workers
from tests.services.ports import free_port
from tests.services.process import Service

ROOT = Path(__file__).resolve().parents[2]
READY_S = 60.0
#: How often a condition that announces itself by no event is looked at, seconds.
LOOK_S = 0.02

T = TypeVar("T")


def submit_all(client: Penstock, submissions: Iterable[Submission]) -> list[Job]:
    """Submit many in one request; none may be refused."""
    outcomes = client.jobs.submit_many(submissions)
    refused = [outcome for outcome in outcomes if not isinstance(outcome, Job)]
    assert not refused, refused
    return [outcome for outcome in outcomes if isinstance(outcome, Job)]


class Farm:
    """Gateway, one CPU worker and orchestrator against the servers given, each to be killed and started at will."""

    def __init__(
        self, folder: Path, repository: Path, services: Mapping[str, Service], urls: Mapping[str, str], key: str = ""
    ) -> None:
        self.services = services
        self.folder = folder
        self.port = free_port()
        self.env = {
            name: value for name, value in os.environ.items() if not name.startswith(("PENSTOCK_", "COV_"))
        } | {
            "PENSTOCK_PORT": str(self.port),
            "PENSTOCK_DATA": str(folder),
            "PENSTOCK_MODELS": str(repository),
            "PENSTOCK_MAX_BODY_BYTES": str(16 * 2**20),
            # Receivers of webhooks are on this machine.
            "PENSTOCK_WEBHOOK_ALLOW": "127.0.0.0/8",
            "PENSTOCK_WEBHOOK_PORTS": "1-65535",
            "PENSTOCK_SCORING_BUCKETS": "lake/open/",
            **urls,
        }  # fmt: skip
        self.settings = Settings.from_env(self.env)
        self.redis: redis.Redis = connect(self.settings.store_url)
        self.jobs = JobStore(self.redis)
        self.workers = Workers(self.redis)
        self.key = key
        self._commands = {
            name: command
            for name, command in one_machine.programs(self.settings, pools=["cpu"]).items()
            if name != "store"
        }
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, *names: str) -> None:
        """Start the processes named, or all; returns when the farm says it is ready."""
        for name in names or self._commands:
            log = (self.folder / f"{name}.log").open("ab")
            with log:
                self.processes[name] = subprocess.Popen(
                    self._commands[name], env=self.env, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )

    def wait_ready(self) -> None:
        self.until(lambda: self._ready(), "the farm is ready", READY_S)

    def _ready(self) -> bool:
        try:
            return httpx.get(self.url + "/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def stop(self, name: str) -> int:
        """SIGTERM; the exit status."""
        return self.end(name, signal.SIGTERM)

    def kill(self, name: str) -> int:
        """SIGKILL, as an out-of-memory killer would."""
        return self.end(name, signal.SIGKILL)

    def end(self, name: str, with_signal: signal.Signals) -> int:
        process = self.processes.pop(name)
        process.send_signal(with_signal)
        return process.wait(timeout=90)

    def close(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()
        self.redis.close()
        for service in self.services.values():
            service.stop()

    def client(self) -> Penstock:
        return Penstock(self.url, api_key=self.key or None)

    def http(self) -> httpx.Client:
        """A bare client, for what the SDK would never send."""
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def until(self, condition: Callable[[], T], what: str, limit_s: float = 30.0) -> T:
        """Look until a condition of another process holds; fails with the processes' logs when it does not."""
        deadline = time.monotonic() + limit_s
        while not (found := condition()):
            if time.monotonic() > deadline:
                logs = "\n".join(f"--- {name}\n{self.log(name)[-1500:]}" for name in self._commands)
                raise AssertionError(f"after {limit_s:g} s still not: {what}\n{logs}")
            time.sleep(LOOK_S)
        return found

    def operator(self, *arguments: str) -> str:
        """Run one of the operator's commands; its standard output."""
        command = [sys.executable, str(ROOT / "farm.py"), "run", *arguments]
        return subprocess.run(command, env=self.env, cwd=ROOT, check=True, capture_output=True, text=True).stdout
