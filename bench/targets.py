"""What the figures are held against, and what they are."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from bench.summaries import Measured, Spread

#: Modes by which one client gets one result at a time, or many.
MODES = ("wait", "poll", "batch")
#: Number of clients of the throughput targets.
MANY = 64


class Line(NamedTuple):
    what: str
    #: As it is written: `≥ 1,500`.
    target: str
    #: By system: what was measured, None where it was not.
    found: dict[str, Spread | None]
    #: As a number, and whether more is better.
    bound: float
    more: bool
    digits: int

    def met(self, system: str) -> bool | None:
        spread = self.found.get(system)
        if spread is None:
            return None
        return spread.median >= self.bound if self.more else spread.median <= self.bound


Of = Callable[[Measured, str], Spread | None]


def lines(measured: Mapping[str, Measured]) -> list[Line]:
    """One for each target of the workloads that were measured."""
    found = []
    for name, what, of, bound, more, digits in TARGETS:
        if name in measured:
            by_system = {system: of(measured[name], system) for system in ("penstock", "embedded")}
            target = f"{'≥' if more else '≤'} {bound:,g}"
            found.append(Line(f"{name}: {what}", target, by_system, bound, more, digits))
    return found


def rate(mode: str, value: str = "jobs_per_s") -> Of:
    return lambda measured, system: spread(measured, system, mode, MANY, value)


def spread(measured: Measured, system: str, mode: str, clients: int, value: str) -> Spread | None:
    cells = measured.cells.get((system, mode, clients))
    return Spread.of(cell[value] for cell in cells) if cells else None


def to_plain(measured: Measured, system: str) -> Spread | None:
    mine, plain = measured.cells.get((system, "poll", MANY), []), measured.cells.get(("plain", "plain", MANY), [])
    return measured.over(mine, plain, "jobs_per_s")


def most_accepted(measured: Measured, system: str) -> Spread | None:
    """Of all numbers of clients."""
    keys = [key for key in measured.cells if key[:2] == (system, "batch")]
    found = [Spread.of(cell["accepted_per_s"] for cell in measured.cells[key]) for key in keys]
    return max(found, default=None)


def of_ceiling(measured: Measured, system: str) -> Spread | None:
    """In whichever mode it is most."""
    keys = [key for key in measured.cells if key[0] == system and (key[2] == MANY or key[1] == "batch")]
    return max((one for key in keys if (one := measured.of_ceiling(key))), default=None)


def added_ms(measured: Measured, system: str) -> Spread | None:
    """Median latency of one client by `Prefer: wait` beyond the model's own in process."""
    return measured.beyond(measured.cells.get((system, "wait", 1), []), measured.ceilings["alone"], "p50_ms")


def worker_ms(measured: Measured, system: str) -> Spread | None:
    cells = measured.cells.get((system, "poll", MANY))
    return Spread.of(cell["cpu_ms"]["worker"] for cell in cells) if cells else None


#: Workload, what it is, how it is read from the result, bound, whether more is better, digits shown.
TARGETS: tuple[tuple[str, str, Of, float, bool, int], ...] = (
    ("echo", f"submit + long poll, {MANY} clients, jobs/s", rate("poll"), 1500, True, 0),
    ("echo", "the same, times the plain app's", to_plain, 3.5, True, 2),
    ("echo", f"`Prefer: wait`, {MANY} clients, jobs/s", rate("wait"), 1500, True, 0),
    ("echo", "`jobs:batch`, jobs/s accepted", most_accepted, 6000, True, 0),
    ("echo", f"worker's main process, submit + long poll, {MANY} clients, CPU ms a job", worker_ms, 0.12, False, 3),
    ("echo", "one client's median latency over the model in process, ms", added_ms, 4, False, 1),
    ("minilm", "rows/s, part of the ceiling", of_ceiling, 0.88, True, 2),
    ("minilm", "one client's median latency over the model in process, ms", added_ms, 4, False, 1),
    ("cnn", "rows/s, part of the ceiling", of_ceiling, 0.94, True, 2),
    ("cnn", "one client's median latency over the model in process, ms", added_ms, 4, False, 1),
)
