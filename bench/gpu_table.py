"""The table of a GPU's result, in Markdown."""

from pathlib import Path
from typing import Any

from bench import page

SECTION = "bench.gpu"


def table(result: dict[str, Any]) -> str:
    """Rows a second in process by batch size, and behind Penstock with its share of the best."""
    lines = [
        f"{result['device']}, torch {result['versions']['torch']}, {result['when'][:10]}",
        "",
        "| model | in process, rows/s (batch) | behind Penstock, rows/s (clients × rows a job; of the best) |",
        "| --- | --- | --- |",
    ]
    return "\n".join([*lines, *(row(model) for model in result["models"])])


def row(model: dict[str, Any]) -> str:
    if "skipped" in model:
        return f"| {model['model']} | not measured: {model['skipped']} | |"
    alone = ", ".join(f"{call['rows_per_s']:.0f} ({call['batch']})" for call in model["calls"])
    best = model["best"]["rows_per_s"]
    behind = ", ".join(
        f"{one['rows_per_s']:.0f} ({one['clients']} × {one['rows']}; {one['rows_per_s'] / best:.2f})"
        for one in model["farm"]
    )
    return f"| {model['model']} | {alone} | {behind} |"


def write(result: dict[str, Any], file: Path = page.PAGE) -> None:
    """Put the table into the page."""
    page.put(SECTION, table(result), file)
