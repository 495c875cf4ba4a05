"""A result's cells as medians and spreads over their rounds, and ratios within each round."""

from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Any, NamedTuple

#: Names of processes that stand in one column: the plain app's web tier where Penstock's gateway does.
SAME = {"web": "gateway", "store": "redis", "ceph-mon": "objects", "ceph-osd": "objects", "ceph-mgr": "objects"}

Cell = dict[str, Any]
Key = tuple[str, str, int]


class Spread(NamedTuple):
    """Of the rounds."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """Raises StatisticsError where there are none."""
        found = list(values)
        return cls(median(found), min(found), max(found))


class Summary(NamedTuple):
    """One system in one mode with so many clients."""

    system: str
    mode: str
    clients: int
    jobs_per_s: Spread
    #: Only of `jobs:batch`.
    accepted_per_s: Spread | None
    p50_ms: float
    p99_ms: float
    looks_per_job: float
    load_cpu_share: float
    others_cpu_share: float
    #: CPU a job, by process; `load` is the load generator.
    cpu_ms: dict[str, float]
    rss_mb: dict[str, float]


class Measured:
    """One workload's part of a result."""

    def __init__(self, name: str, part: dict[str, Any]) -> None:
        self.name = name
        self.part = part
        self.cells: dict[Key, list[Cell]] = {}
        for cell in part["cells"]:
            self.cells.setdefault((cell["system"], cell["mode"], cell["clients"]), []).append(cell)
        self.ceilings: dict[str, list[Cell]] = {}
        for one in part["ceilings"]:
            self.ceilings.setdefault(one["kind"], []).append(one)

    @property
    def most_clients(self) -> int:
        return max(clients for _, _, clients in self.cells)

    def summaries(self) -> list[Summary]:
        return [summary(cells) for cells in self.cells.values()]

    def over(self, above: Sequence[Cell], below: Sequence[Cell], value: str, base: str = "") -> Spread | None:
        """Ratios of `value` to `base` (if not the same), each within its round; None where either is missing."""
        return self._by_round(above, below, lambda one, other: one[value] / other[base or value])

    def beyond(self, above: Sequence[Cell], below: Sequence[Cell], value: str) -> Spread | None:
        """Differences, each within its round."""
        return self._by_round(above, below, lambda one, other: one[value] - other[value])

    def of_ceiling(self, key: Key) -> Spread | None:
        return self.over(self.cells.get(key, []), self.ceilings["best"], "jobs_per_s", "rows_per_s")

    @staticmethod
    def _by_round(above: Sequence[Cell], below: Sequence[Cell], take: Callable[[Cell, Cell], float]) -> Spread | None:
        others = {cell["round"]: cell for cell in below}
        found = [take(cell, others[cell["round"]]) for cell in above if cell["round"] in others]
        return Spread.of(found) if found else None


def summary(cells: Sequence[Cell]) -> Summary:
    first = cells[0]
    accepted = [cell["accepted_per_s"] for cell in cells if "accepted_per_s" in cell]
    return Summary(
        first["system"], first["mode"], first["clients"],
        jobs_per_s=Spread.of(cell["jobs_per_s"] for cell in cells),
        accepted_per_s=Spread.of(accepted) if accepted else None,
        p50_ms=median(cell["p50_ms"] for cell in cells),
        p99_ms=median(cell["p99_ms"] for cell in cells),
        looks_per_job=median(cell.get("looks_per_job", 0.0) for cell in cells),
        load_cpu_share=median(cell["load_cpu_share"] for cell in cells),
        others_cpu_share=median(cell["others_cpu_share"] for cell in cells),
        cpu_ms=medians((cell["cpu_ms"] for cell in cells), together=sum),
        rss_mb=medians((cell["rss_mb"] for cell in cells), together=max),
    )  # fmt: skip


def medians(parts: Iterable[dict[str, float]], *, together: Callable[[Sequence[float]], float]) -> dict[str, float]:
    """By process; processes that stand in one column are taken `together` first."""
    rows = []
    for part in parts:
        grouped: dict[str, list[float]] = {}
        for name, value in part.items():
            grouped.setdefault(SAME.get(name, name), []).append(value)
        rows.append({name: together(values) for name, values in grouped.items()})
    return {name: median(row[name] for row in rows if name in row) for row in rows for name in row}
