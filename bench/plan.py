"""What is measured, in which order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.workloads import USUAL, WORKLOADS, Workload

CLIENTS = (1, 16, 64)
#: Of each system; the last one waits for as long as it takes, and warms up.
MODES = {
    "penstock": ("wait", "batch", "poll"),
    "embedded": ("wait", "batch", "poll"),
    "plain": ("plain",),
}


@dataclass(frozen=True)
class Cell:
    """One measurement of a running system."""

    system: str
    mode: str
    clients: int


@dataclass(frozen=True)
class Plan:
    workloads: tuple[Workload, ...]
    rounds: int
    #: Of every measurement: its length as a part of what the workload asks for.
    part: float
    clients: tuple[int, ...]

    def cells(self, workload: Workload) -> list[Cell]:
        """One round: whatever differs least stands side by side, so that the machine's moods meet all of them."""
        return list(cells(workload, self.clients))


def cells(workload: Workload, clients: Sequence[int]) -> Iterator[Cell]:
    for number in clients:
        for mode in ("plain", "wait", "poll", "batch"):
            for system, modes in MODES.items():
                if mode in modes and (mode != "batch" or burst(workload, system, number)):
                    yield Cell(system, mode, number)


def burst(workload: Workload, system: str, clients: int) -> bool:
    """Whether a burst is measured: slow jobs keep the worker busy whoever sends them, so one sender is enough."""
    return clients in workload.batch_clients and (system != "embedded" or clients == workload.batch_clients[0])


def plan(*, only: Sequence[str] = (), rounds: int = 3, quick: bool = False) -> Plan:
    """Raises ValueError for an unknown workload."""
    for name in only:
        if name not in WORKLOADS:
            raise ValueError(f"no workload {name!r}; there are {', '.join(WORKLOADS)}")
    chosen = tuple(workload for name, workload in WORKLOADS.items() if name in (only or USUAL))
    if quick:
        return Plan(chosen, 1, 0.3, (1, 64))
    return Plan(chosen, rounds, 1.0, CLIENTS)
