"""`penstock up`: a whole farm from one command, which restarts what dies and ends all it started."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from penstock import Penstock

from tests.farm.harness import LOOK_S, READY_S, ROOT
from tests.farm.repository import build
from tests.services.ports import free_port

pytestmark = [pytest.mark.farm, pytest.mark.xdist_group("up")]

X = [float(n) for n in range(16)]


class Up:
    """`penstock up` as a user starts it."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")} | {
            "PENSTOCK_PORT": str(self.port),
            "PENSTOCK_DATA": str(folder / "data"),
            "PENSTOCK_MODELS": str(folder / "models"),
        }
        self.log = folder / "up.log"

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "farm.py"), "run", "up"],
                cwd=ROOT, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        self.until(self.ready, "ready")

    def ready(self) -> bool:
        try:
            return httpx.get(self.url + "/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def until(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + READY_S
        while not condition():
            assert time.monotonic() < deadline, f"not {what}:\n{self.log.read_text()[-3000:]}"
            time.sleep(LOOK_S)

    def family(self) -> list[psutil.Process]:
        return [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]

    def gateway(self) -> psutil.Process | None:
        """The gateway's first process, None while there is none."""
        for process in self.family():
            try:
                if process.cmdline()[-1:] == ["gateway"]:
                    return process
            except psutil.NoSuchProcess:
                continue
        return None


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    build(tmp_path / "models")
    up = Up(tmp_path)
    try:
        up.start()
        yield up
    finally:
        up.process.kill()
        up.process.wait()


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_every_process_ends_with_the_farm_however_it_ends(up: Up, by: signal.Signals) -> None:
    family = up.family()
    assert len(family) >= 8  # this, supervisor, store, gateway and its server, worker and three executors, orchestrator
    up.process.send_signal(by)
    _gone, alive = psutil.wait_procs(family, timeout=30)
    assert not alive


def test_process_that_dies_is_started_again(up: Up) -> None:
    gateway = up.gateway()
    assert gateway is not None
    gateway.kill()
    gateway.wait(10)
    up.until(lambda: up.gateway() not in (None, gateway) and up.ready(), "up again")
    with Penstock(up.url) as client:
        assert client.run("echo", {"x": X}) == {"y": [X]}


def test_accepted_jobs_are_there_again_at_the_next_start(up: Up, tmp_path: Path) -> None:
    with Penstock(up.url) as client:
        done = client.jobs.submit("echo", {"x": X}, wait_s=20)
        blocked = client.jobs.submit("trouble", {"do": f"sleep {3600}"}, timeout_s=2)
        waiting = client.jobs.submit("trouble", {"do": "after"})
    up.process.terminate()
    up.process.wait(90)
    up.start()
    with Penstock(up.url) as client:
        assert client.jobs.get(done).outputs == {"y": [X]}
        assert client.jobs.wait(waiting, timeout_s=60).outputs == {"did": ["after"]}
        assert client.jobs.wait(blocked, timeout_s=60).done


def test_port_in_use_is_said_before_anything_is_started(up: Up) -> None:
    second = subprocess.run(
        [sys.executable, str(ROOT / "farm.py"), "run", "up"], cwd=ROOT, env=up.env, capture_output=True, text=True
    )
    assert second.returncode == 2
    assert "choose another PENSTOCK_PORT" in second.stderr


def test_address_beyond_loopback_is_refused_without_keys(tmp_path: Path) -> None:
    build(tmp_path / "models")
    up = Up(tmp_path)
    up.env["PENSTOCK_HOST"] = "0.0.0.0"
    with up.log.open("ab") as log:
        up.process = subprocess.Popen(
            [sys.executable, str(ROOT / "farm.py"), "run", "up"],
            cwd=ROOT, env=up.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        up.until(lambda: "penstock key create" in up.log.read_text(), "refused with a way out")
        assert not up.ready()
    finally:
        up.process.terminate()
        up.process.wait(60)
