"""The tables of a result, in Markdown: targets, ceilings, and for each workload speed, CPU and memory."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench import page, targets
from bench.summaries import Measured, Spread, Summary

SECTION = "make bench"
SYSTEMS = {"penstock": "Penstock", "embedded": "Penstock embedded", "plain": "Celery + Flask"}
MODES = {
    "wait": "`Prefer: wait`",
    "poll": "submit + long poll",
    "batch": "`jobs:batch`",
    "plain": "submit + poll",
}
#: Columns of the table of costs; the plain app's web tier stands where Penstock's gateway does.
COSTS = ("gateway", "worker", "executor", "rabbitmq", "redis", "objects", "orchestrator")


def text(result: dict[str, Any], *, pictures: bool = False) -> str:
    """All tables, with or without the places of the pictures."""
    measured = {name: Measured(name, part) for name, part in result["workloads"].items()}
    parts = [*target_table(measured), "", *ceiling_table(measured.values())]
    for one in measured.values():
        rows = one.summaries()
        parts += ["", f"### {one.name}", ""]
        if pictures:
            parts += [f"![{one.name}: jobs a second, latency and CPU by process]({picture(one.name)})", ""]
        parts += [*speeds(one, rows), "", *cpu(rows), "", *memory(one, rows)]
    seconds = result["import_s"]
    parts += [
        "",
        f"Importing the gateway: {median(seconds):.2f} s ({min(seconds):.2f}–{max(seconds):.2f}, fresh interpreter).",
    ]
    return "\n".join(parts)


def target_table(measured: dict[str, Measured]) -> list[str]:
    lines = [
        "Targets, and the medians of the rounds (least–most); ratios and differences are taken within each round:",
        "",
        "| | target | on RabbitMQ | | embedded | |",
        "| --- | ---: | ---: | --- | ---: | --- |",
    ]
    for line in targets.lines(measured):
        cells = [f"{shown(line.found[system], line.digits)} | {verdict(line.met(system))}" for system in line.found]
        lines.append(f"| {line.what} | {line.target} | {' | '.join(cells)} |")
    return lines


def verdict(met: bool | None) -> str:
    return "" if met is None else "met" if met else "**missed**"


def shown(spread: Spread | None, digits: int) -> str:
    """Median (least–most)."""
    if spread is None:
        return ""
    return f"{spread.median:,.{digits}f} ({spread.least:,.{digits}f}–{spread.most:,.{digits}f})"


def ceiling_table(measured: Iterable[Measured]) -> list[str]:
    lines = [
        "The model in process, best of all ways tried, and the way the farm runs it; `alone` is one call of one row:",
        "",
        "| model | processes × threads × rows a call | rows/s | CPU ms a row | alone, p50 ms | farm runs |",
        "| --- | --- | ---: | ---: | ---: | --- |",
    ]
    for one in measured:
        best, alone = one.ceilings["best"], one.ceilings["alone"]
        rate, latency = Spread.of(each["rows_per_s"] for each in best), Spread.of(each["p50_ms"] for each in alone)
        lines.append(
            f"| {one.name} | {way(one.part['best'])} | {shown(rate, 0 if rate.median > 1000 else 1)} "
            f"| {median(each['cpu_ms_per_row'] for each in best):.3g} "
            f"| {shown(latency, 2 if latency.median > 1 else 4)} "
            f"| {way(one.part['farm'])} |"
        )
    return lines


def way(one: dict[str, int]) -> str:
    return f"{one['instances']} × {one['threads']} × {one['batch']}"


def speeds(one: Measured, rows: Sequence[Summary]) -> list[str]:
    lines = [
        "| clients | | jobs/s, median (least–most) | × plain | of ceiling | p50 ms | p99 ms | polls/job |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        key = (row.system, row.mode, row.clients)
        plain = one.over(one.cells[key], one.cells.get(("plain", "plain", row.clients), []), "jobs_per_s")
        ceiling = one.of_ceiling(key)
        # Of a model that does nothing the part says nothing.
        part = f"{ceiling.median:.2f}" if ceiling and ceiling.median > 0.01 else ""
        accepted = f", accepted {shown(row.accepted_per_s, 0)}" if row.accepted_per_s else ""
        lines.append(
            f"| {row.clients} | {title(row)} | {shown(row.jobs_per_s, digits(row.jobs_per_s))}{accepted} "
            f"| {plain.median if plain else 0:.2f} | {part} | {row.p50_ms:.1f} | {row.p99_ms:.1f} "
            f"| {row.looks_per_job:.1f} |"
        )
    return lines


def digits(spread: Spread) -> int:
    return 0 if spread.median >= 100 else 1


def title(row: Summary) -> str:
    return f"{SYSTEMS[row.system]}, {MODES[row.mode]}"


def cpu(rows: Sequence[Summary]) -> list[str]:
    names = [name for name in COSTS if any(row.cpu_ms.get(name, 0.0) >= 0.005 for row in rows)]
    lines = [
        "CPU milliseconds a job, by process (all of a name's processes together); the last columns are parts of one "
        "core:",
        "",
        f"| clients | | {' | '.join(names)} | sum | load generator | its share | others' share |",
        f"| ---: | --- | {'---: | ' * len(names)}---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        cells = [f"{row.cpu_ms[name]:.2f}" if name in row.cpu_ms else "" for name in names]
        whole = sum(ms for name, ms in row.cpu_ms.items() if name != "load")
        lines.append(
            f"| {row.clients} | {title(row)} | {' | '.join(cells)} | {whole:.2f} "
            f"| {row.cpu_ms['load']:.2f} | {row.load_cpu_share:.0%} | {row.others_cpu_share:.0%} |"
        )
    return lines


def memory(one: Measured, rows: Sequence[Summary]) -> list[str]:
    lines = ["Resident memory at the end, MB, of the largest process of each name:", ""]
    for system in dict.fromkeys(row.system for row in rows):
        last = [row for row in rows if row.system == system and row.clients == one.most_clients][-1]
        lines.append(
            f"- {SYSTEMS[system]}: " + ", ".join(f"{name} {mb:.0f}" for name, mb in sorted(last.rss_mb.items()))
        )
    return lines


def heading(result: dict[str, Any]) -> str:
    machine, versions = result["machine"], result["versions"]
    lengths = ", ".join(f"{name} {part['seconds']:g} s" for name, part in result["workloads"].items())
    return (
        f"{result['when'][:16].replace('T', ' ')} UTC, `{result['command']}`: {result['rounds']} rounds, alternating "
        f"({lengths}); load before {result['load_before']}. "
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory']}, {machine['system']}; "
        + ", ".join(f"{name} {number}" for name, number in versions.items())
        + "."
    )


def write(result: dict[str, Any], file: Path = page.PAGE) -> None:
    """Put the tables into the page, each workload's picture below its name."""
    page.put(SECTION, f"{heading(result)}\n\n{text(result, pictures=True)}", file)


def picture(name: str) -> str:
    """The file beside the page that shows a workload."""
    return f"performance-{name}.png"
