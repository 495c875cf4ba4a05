"""Faults of Penstock's own processes."""

import random
import signal
from collections.abc import Callable
from contextlib import suppress

import psutil

from tests.chaos.farm import PROCESSES, ChaosFarm

Heal = Callable[[], None]
Inject = Callable[[ChaosFarm, random.Random], Heal]


def kill(name: str) -> Inject:
    """SIGKILL, as an out-of-memory killer would; its children end with it."""

    def inject(farm: ChaosFarm, draw: random.Random) -> Heal:
        farm.kill(name)
        return lambda: farm.start(name)

    return inject


def restart(name: str) -> Inject:
    """SIGTERM and a new one: as an upgrade does it."""

    def inject(farm: ChaosFarm, draw: random.Random) -> Heal:
        status = farm.stop(name)
        if status != 0:
            farm.complaints.append(f"{name} ended with {status} when it was asked to end")
        return lambda: farm.start(name)

    return inject


def stop(name: str) -> Inject:
    """SIGSTOP and SIGCONT of the process and its children, executors excepted."""

    def inject(farm: ChaosFarm, draw: random.Random) -> Heal:
        return suspend([process for process in tree(farm, name) if not is_executor(process)])

    return inject


def kill_executor(farm: ChaosFarm, draw: random.Random) -> Heal:
    for victim in executor(farm, draw):
        victim.kill()
    return lambda: None


def stop_executor(farm: ChaosFarm, draw: random.Random) -> Heal:
    return suspend(executor(farm, draw))


def shift_clock(by_s: float) -> Inject:
    """One process takes the time for another than it is; the store stamps what that process does with its time."""

    def inject(farm: ChaosFarm, draw: random.Random) -> Heal:
        name = draw.choice(PROCESSES)
        farm.note(name)
        farm.clocks[name].shift(by_s)
        return lambda: farm.clocks[name].shift(0)

    return inject


def suspend(victims: list[psutil.Process]) -> Heal:
    for process in victims:
        send(process, signal.SIGSTOP)

    def resume() -> None:
        for process in victims:
            send(process, signal.SIGCONT)

    return resume


def send(process: psutil.Process, number: signal.Signals) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def tree(farm: ChaosFarm, name: str) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess, KeyError):
        process = psutil.Process(farm.processes[name].pid)
        return [process, *process.children(recursive=True)]
    return []


def is_executor(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return "workers.child" in process.cmdline()
    return False


def executor(farm: ChaosFarm, draw: random.Random) -> list[psutil.Process]:
    """One of the worker's; none while there is none."""
    found = sorted((one for one in tree(farm, "worker-cpu") if is_executor(one)), key=lambda one: one.pid)
    return [draw.choice(found)] if found else []
