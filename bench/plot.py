"""Draws docs/performance.png from a kept result: `python -m bench.plot [bench/results/DATE.json]`."""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

from bench.processes import ROOT
from bench.report import COSTS, Summary, summaries

matplotlib.use("Agg")

from matplotlib import pyplot as plt  # the backend is chosen before

PICTURE = ROOT / "docs" / "performance.png"
LABELS = {
    ("penstock", "wait"): "Penstock, Prefer: wait",
    ("penstock", "poll"): "Penstock, long poll",
    ("embedded", "poll"): "Penstock embedded, long poll",
    ("plain", "plain"): "Celery + Flask, poll",
}
COLOURS = ("#0b6e99", "#4aa8c9", "#9ccfe0", "#c0602b")


def draw(result: dict[str, Any], path: Path = PICTURE) -> None:
    """Jobs a second and latency by number of clients, and where the CPU goes at the most."""
    rows = summaries(result)
    figure, (speed, latency, cost) = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    bars(speed, rows, lambda row: row.jobs_per_s, "jobs/s", spread=True)
    bars(latency, rows, lambda row: row.p50_ms, "p50, ms (log)")
    latency.set_yscale("log")
    speed.legend(fontsize=8)
    stacked(cost, [row for row in rows if row.concurrency == max(row.concurrency for row in rows)])
    machine = result["machine"]
    figure.suptitle(
        f"Echo of 16 floats on {machine['cores']} cores with everything on them, {result['when'][:10]}", fontsize=10
    )
    figure.savefig(path, dpi=110)
    plt.close(figure)


def bars(axes: Any, rows: list[Summary], value: Any, label: str, *, spread: bool = False) -> None:
    counts = sorted({row.concurrency for row in rows})
    width = 0.8 / len(LABELS)
    for place, (key, name) in enumerate(LABELS.items()):
        own = [row for row in rows if (row.system, row.mode) == key]
        at = [counts.index(row.concurrency) + (place - 1.5) * width for row in own]
        heights = [value(row) for row in own]
        ends = [[row.jobs_per_s - row.least for row in own], [row.most - row.jobs_per_s for row in own]]
        error = ends if spread and own else None
        axes.bar(at, heights, width, label=name, color=COLOURS[place], yerr=error, error_kw={"lw": 0.8})
    axes.set_xticks(range(len(counts)), [f"{count} client{'s' if count > 1 else ''}" for count in counts])
    axes.set_title(label, fontsize=10)


def stacked(axes: Any, rows: list[Summary]) -> None:
    own = [row for key in LABELS for row in rows if (row.system, row.mode) == key]
    left = [0.0] * len(own)
    for name in COSTS:
        widths = [row.cpu_ms.get(name, 0.0) for row in own]
        axes.barh([LABELS[row.system, row.mode] for row in own], widths, left=left, label=name)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axes.invert_yaxis()
    axes.set_title(f"CPU ms a job, {own[0].concurrency} clients" if own else "", fontsize=10)
    axes.legend(fontsize=7)


def newest() -> Path:
    return max((ROOT / "bench" / "results").glob("*.json"))


if __name__ == "__main__":
    draw(json.loads((Path(sys.argv[1]) if len(sys.argv) > 1 else newest()).read_text()))
