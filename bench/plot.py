"""One picture for each workload: jobs a second and latency by number of clients, and where the CPU goes at the most."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

from bench.processes import ROOT
from bench.report import COSTS, SYSTEMS, picture
from bench.summaries import Measured, Summary

matplotlib.use("Agg")

from matplotlib import pyplot as plt  # the backend is chosen before

DOCS = ROOT / "docs"
#: What is drawn, its name, its colour.
SERIES = {
    ("penstock", "wait"): ("Prefer: wait", "#0b6e99"),
    ("penstock", "poll"): ("long poll", "#4aa8c9"),
    ("embedded", "wait"): ("Prefer: wait", "#5d8a3a"),
    ("embedded", "poll"): ("long poll", "#a3c585"),
    ("plain", "plain"): ("poll", "#c0602b"),
}
TITLES = {
    "echo": "echo of 16 floats",
    "minilm": "minilm, one sentence",
    "cnn": "CNN, one JPEG of 224 x 224",
    "pixels": "CNN, one picture of 224 x 224 as pixels",
}


def draw(result: dict[str, Any], folder: Path = DOCS) -> list[Path]:
    """The pictures that were written."""
    return [draw_one(result, Measured(name, part), folder) for name, part in result["workloads"].items()]


def draw_one(result: dict[str, Any], measured: Measured, folder: Path) -> Path:
    rows = measured.summaries()
    figure, (speed, latency, cost) = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    bars(speed, rows, lambda row: row.jobs_per_s.median, "jobs/s", spread=True)
    ceiling(speed, measured)
    bars(latency, rows, lambda row: row.p50_ms, "p50, ms (log)")
    latency.set_yscale("log")
    speed.legend(fontsize=7)
    stacked(cost, [row for row in rows if row.clients == measured.most_clients])
    cores, title = result["machine"]["cores"], TITLES.get(measured.name, measured.name)
    figure.suptitle(f"{title}: {cores} cores with everything on them, {result['when'][:10]}", fontsize=10)
    path = folder / picture(measured.name)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path


def ceiling(axes: Any, measured: Measured) -> None:
    """A line at the model's own speed, unless it is so far above that the bars would vanish."""
    rates = sorted(one["rows_per_s"] for one in measured.ceilings["best"])
    rate = rates[len(rates) // 2]
    if rate < 100_000:
        axes.axhline(rate, color="#444444", lw=1, ls="--", label="the model in process")


def label(row: Summary) -> str:
    return f"{SYSTEMS[row.system]}, {SERIES[row.system, row.mode][0]}"


def bars(
    axes: Any, rows: list[Summary], value: Callable[[Summary], float], title: str, *, spread: bool = False
) -> None:
    counts = sorted({row.clients for row in rows})
    width = 0.8 / len(SERIES)
    for place, key in enumerate(SERIES):
        own = [row for row in rows if (row.system, row.mode) == key]
        if not own:
            continue
        at = [counts.index(row.clients) + (place - (len(SERIES) - 1) / 2) * width for row in own]
        rates = [row.jobs_per_s for row in own]
        ends = [[rate.median - rate.least for rate in rates], [rate.most - rate.median for rate in rates]]
        axes.bar(
            at, [value(row) for row in own], width, label=label(own[0]), color=SERIES[key][1],
            yerr=ends if spread else None, error_kw={"lw": 0.8},
        )  # fmt: skip
    axes.set_xticks(range(len(counts)), [f"{count} client{'s' if count > 1 else ''}" for count in counts])
    axes.set_title(title, fontsize=10)


def stacked(axes: Any, rows: list[Summary]) -> None:
    own = [row for key in SERIES for row in rows if (row.system, row.mode) == key]
    left = [0.0] * len(own)
    for name in COSTS:
        widths = [row.cpu_ms.get(name, 0.0) for row in own]
        axes.barh([label(row) for row in own], widths, left=left, label=name)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axes.invert_yaxis()
    axes.tick_params(labelsize=8)
    axes.set_title(f"CPU ms a job, {own[0].clients} clients" if own else "", fontsize=10)
    axes.legend(fontsize=7)
