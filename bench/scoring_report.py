"""What `bench.scoring` found, as Markdown."""

import statistics
from typing import Any


def report(result: dict[str, Any]) -> str:
    """The tables of a result, Markdown."""
    lines = [f"{result['when'][:10]}, {result['machine']['processor']}, {result['machine']['cores']} cores.", ""]
    speeds = [name for name in ("mlp", "minilm") if name in result]
    if speeds:
        lines += ["| table | loop | Penstock embedded | of the loop | Penstock farm | of the loop | Ray Data |",
                  "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"]  # fmt: skip
        lines += [speed_line(name, result[name]) for name in speeds] + [""]
    if "interactive" in result:
        lines += ["| `normal` jobs | p50 idle | p99 idle | p50 beside one | p99 beside one | a batch | bound |",
                  "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"]  # fmt: skip
        for model, one in result["interactive"].items():
            idle, busy = one["idle"], one["scoring"]
            figures = (idle["p50_ms"], idle["p99_ms"], busy["p50_ms"], busy["p99_ms"], one["batch_ms"], one["bound_ms"])
            lines.append(f"| {model} | " + " | ".join(f"{figure:.1f} ms" for figure in figures) + " |")
        lines.append("")
    if "memory" in result:
        few, many = result["memory"]
        lines += [f"| peak memory | {int(few):,} rows | {int(many):,} rows | |", "| --- | ---: | ---: | ---: |"]
        for name, size in result["memory"][few].items():
            other = result["memory"][many].get(name, 0.0)
            lines.append(f"| {name} | {size:.0f} MB | {other:.0f} MB | {other / size - 1:+.0%} |")
        lines.append("")
    return "\n".join(lines).rstrip()


def speed_line(name: str, one: dict[str, Any]) -> str:
    rows, rounds = one["rows"], one["rounds"]
    cells = [f"{rows / statistics.median(each['loop_s'] for each in rounds):,.0f} rows/s"]
    for kind in ("embedded", "farm"):
        seconds = [each[kind]["scoring_s"] for each in rounds]
        ratios = sorted(each["loop_s"] / each[kind]["scoring_s"] for each in rounds)
        cells += [f"{rows / statistics.median(seconds):,.0f} rows/s",
                  f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f})"]  # fmt: skip
    ray = [each["ray_s"] for each in rounds if each.get("ray_s")]
    cells.append(f"{rows / statistics.median(ray):,.0f} rows/s" if ray else "–")
    return f"| {name}, {rows:,} rows | " + " | ".join(cells) + " |"
