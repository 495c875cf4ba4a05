"""What `bench.scoring` found, as one picture."""

import statistics
from pathlib import Path
from typing import Any

import matplotlib

from bench.processes import ROOT

matplotlib.use("Agg")

from matplotlib import pyplot as plt  # the backend is chosen before

PICTURE = ROOT / "docs" / "performance-scoring.png"
COLOURS = {"loop in process": "#999999", "embedded": "#5d8a3a", "farm": "#0b6e99", "Ray Data": "#c0602b"}


def draw(result: dict[str, Any], file: Path = PICTURE) -> Path:
    """Rows a second beside the loop, latencies of interactive jobs, and peaks of memory; gives the file written."""
    figure, (speed, latency, memory) = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    speeds(speed, result)
    latencies(latency, result.get("interactive", {}))
    peaks(memory, result.get("memory", {}))
    figure.suptitle(
        f"Tables: {result['machine']['cores']} cores with everything on them, {result['when'][:10]}", fontsize=10
    )
    figure.savefig(file, dpi=110)
    plt.close(figure)
    return file


def speeds(axes: Any, result: dict[str, Any]) -> None:
    """As a share of the loop, each with its spread over the rounds."""
    shares: dict[str, dict[str, list[float]]] = {}
    for name in ("mlp", "minilm"):
        for each in result.get(name, {}).get("rounds", ()):
            seconds = {"embedded": each["embedded"]["scoring_s"], "farm": each["farm"]["scoring_s"]}
            if each.get("ray_s"):
                seconds["Ray Data"] = each["ray_s"]
            for label, value in seconds.items():
                shares.setdefault(label, {}).setdefault(name, []).append(each["loop_s"] / value)
    grouped(
        axes, {label: {name: statistics.median(all_) for name, all_ in own.items()} for label, own in shares.items()}
    )
    axes.axhline(1, color=COLOURS["loop in process"], lw=1, ls="--", label="loop in process")
    axes.set_ylabel("rows/s as a share of the loop's")
    axes.legend(fontsize=7)


def latencies(axes: Any, found: dict[str, Any]) -> None:
    values = {
        label: {model: one[key]["p99_ms"] for model, one in found.items()}
        for label, key in (("alone", "idle"), ("beside a scoring", "scoring"))
    }
    values["bound"] = {model: one["bound_ms"] for model, one in found.items()}
    grouped(axes, values, ("#a3c585", "#0b6e99", "#999999"))
    axes.set_ylabel("p99 of `normal` jobs, ms")
    axes.legend(fontsize=7)


def peaks(axes: Any, found: dict[str, Any]) -> None:
    names = sorted({name for sizes in found.values() for name in sizes})
    values = {f"{int(rows):,} rows": {name: sizes.get(name, 0) for name in names} for rows, sizes in found.items()}
    grouped(axes, values, ("#a3c585", "#5d8a3a"))
    axes.tick_params(axis="x", labelrotation=60, labelsize=7)
    axes.set_ylabel("peak memory, MB")
    axes.legend(fontsize=7)


def grouped(axes: Any, values: dict[str, dict[str, float]], colours: tuple[str, ...] = ()) -> None:
    """A group of bars for each name, a bar in it for each label."""
    names = list(dict.fromkeys(name for own in values.values() for name in own))
    width = 0.8 / max(1, len(values))
    for place, (label, own) in enumerate(values.items()):
        at = [names.index(name) + (place - (len(values) - 1) / 2) * width for name in own]
        colour = colours[place] if colours else COLOURS[label]
        axes.bar(at, list(own.values()), width, label=label, color=colour)
    axes.set_xticks(range(len(names)), names)
