"""Throughput over latency as a picture: a line for each setup, a dot for each batch size."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import matplotlib

from workers.tuning.points import Point

matplotlib.use("Agg")

from matplotlib import pyplot as plt


def draw(points: Sequence[Point], best: Point | None, path: Path, *, title: str, target_ms: float | None) -> None:
    """Write a PNG; raises OSError."""
    figure, axes = plt.subplots(figsize=(9, 5), layout="constrained")
    good = [point for point in points if not point.reason]
    for (runtime, instances, threads), group in groupby(good, lambda p: (p.runtime, p.instances, p.threads)):
        line = list(group)
        label = f"{runtime}, {instances} × {threads} thread{'s' if threads > 1 else ''}"
        axes.plot([p.p50_ms for p in line], [p.rows_per_s for p in line], "o-", ms=4, lw=1.2, label=label)
        for p in line:
            axes.annotate(str(p.batch), (p.p50_ms, p.rows_per_s), (3, 3), textcoords="offset points", fontsize=7)
    if best is not None:
        axes.plot([best.p50_ms], [best.rows_per_s], "o", ms=13, mfc="none", mec="black", label="best")
    if target_ms is not None:
        axes.axvline(target_ms, color="grey", lw=0.8, ls="--", label="target")
    axes.set(xlabel="p50 of a batch, ms; numbers: rows at once", ylabel="rows/s")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.set_title(title, fontsize=10)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=110, format="png")
    plt.close(figure)
