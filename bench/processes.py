"""Processes that are started, watched and ended: what they cost, and that none is left."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import psutil

ROOT = Path(__file__).resolve().parent.parent
CORES = len(os.sched_getaffinity(0))
#: What is reported of a process under its own name rather than its parent's: a part of its command line.
OWN_NAMES = {"workers.child": "executor"}
#: Seconds that a process has to end after SIGTERM.
STOP_S = 20.0


class Started:
    """Child processes by name, each of which the kernel ends with this one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, command: list[str], env: Mapping[str, str]) -> None:
        path = self._folder / f"{name}.log"
        with path.open("ab") as log:
            self._running[name] = subprocess.Popen(
                [sys.executable, str(ROOT / "farm.py"), "exec", *command],
                env=dict(env),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C reaches the benchmark alone, which then ends these in order.
                start_new_session=True,
            )

    @property
    def pids(self) -> dict[str, int]:
        return {name: process.pid for name, process in self._running.items()}

    def ended(self) -> str:
        """Name, status and last words of one that ended by itself; empty while all run."""
        for name, process in self._running.items():
            if process.poll() is not None:
                return f"{name} ended with {process.returncode}:\n{self.log(name)}"
        return ""

    def log(self, name: str) -> str:
        return (self._folder / f"{name}.log").read_text(errors="replace")[-2000:]

    def stop(self) -> None:
        """End them in reverse order of their start."""
        for process in reversed(self._running.values()):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                # Its session is its own, so this reaches its children as well.
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self._running.clear()


class Cost(NamedTuple):
    cpu_s: float
    #: Resident memory of the largest process of that name, bytes.
    rss: int


def costs(roots: Mapping[str, int]) -> dict[str, Cost]:
    """What the processes and their descendants have cost so far, by name; `roots` maps names to process ids."""
    found: dict[str, Cost] = {}
    for name, pid in roots.items():
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            try:
                own = name_of(process, name)
                times, rss = process.cpu_times(), process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
            before = found.get(own, Cost(0.0, 0))
            found[own] = Cost(before.cpu_s + times.user + times.system, max(before.rss, rss))
    return found


def name_of(process: psutil.Process, name: str) -> str:
    command = process.cmdline()
    return next((own for part, own in OWN_NAMES.items() if part in command), name)


def listening(ports: Mapping[str, int]) -> dict[str, int]:
    """Ids of this machine's processes that listen on the ports, by name; a server elsewhere is left out."""
    by_port = {
        connection.laddr.port: connection.pid
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.pid
    }
    return {name: by_port[port] for name, port in ports.items() if port in by_port}


def beside(pid: int, prefix: str) -> dict[str, int]:
    """Ids, by name, of the processes that have the same parent and a name that begins so."""
    parent = psutil.Process(pid).parent()
    found = parent.children() if parent else []
    return {process.name(): process.pid for process in found if process.name().startswith(prefix)}


def busy_s() -> float:
    """CPU seconds that this machine has spent so far on anything; what its host took from it counts as well."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)
