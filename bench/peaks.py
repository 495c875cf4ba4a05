"""The most memory that each process of a system ever held."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from bench.processes import name_of
from bench.systems import System


@contextmanager
def watched(system: System) -> Iterator[dict[str, float]]:
    """The largest resident memory by process, bytes, as the kernel kept it; executors by their number."""
    peak: dict[str, float] = {}
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.2):
            for name, pid in system.pids.items():
                for process in family(pid):
                    try:
                        note(peak, name_of(process, name), high_water(process.pid))
                    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
                        continue

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()


def family(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def note(peak: dict[str, float], name: str, size: float) -> None:
    peak[name] = max(peak.get(name, 0.0), size)


def high_water(pid: int) -> float:
    """VmHWM, bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return 0.0
