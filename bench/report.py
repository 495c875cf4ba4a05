"""The table of a result: medians and spreads over its rounds, and ratios to the plain app."""

from collections.abc import Iterable
from statistics import median
from typing import Any, NamedTuple

from bench.processes import ROOT

PAGE = ROOT / "docs" / "performance.md"
#: Between these lines of the page stands what is written here.
BEGIN, END = "<!-- make bench writes from here -->", "<!-- to here -->"
NAMES = {
    ("penstock", "wait"): "Penstock, `Prefer: wait`",
    ("penstock", "poll"): "Penstock, submit + long poll",
    ("plain", "plain"): "Celery + Flask, submit + poll",
    ("embedded", "wait"): "Penstock embedded, `Prefer: wait`",
    ("embedded", "poll"): "Penstock embedded, submit + long poll",
}
#: Columns of the table of costs; the plain app's web tier stands where Penstock's gateway does.
COSTS = ("gateway", "worker", "executor", "rabbitmq", "redis", "orchestrator")
SAME = {"web": "gateway", "store": "redis"}


class Summary(NamedTuple):
    system: str
    mode: str
    concurrency: int
    jobs_per_s: float
    least: float
    most: float
    p50_ms: float
    p99_ms: float
    polls_per_job: float
    load_cpu_share: float
    cpu_ms: dict[str, float]
    rss_mb: dict[str, float]


def summaries(result: dict[str, Any]) -> list[Summary]:
    """One for each system, mode and concurrency, in the order of the table."""
    groups: dict[tuple[str, str, int], list[dict[str, Any]]] = {}
    for cell in result["cells"]:
        groups.setdefault((cell["system"], cell["mode"], cell["concurrency"]), []).append(cell)
    order = {key: place for place, key in enumerate(NAMES)}
    return [summary(groups[key]) for key in sorted(groups, key=lambda key: (key[2], order[key[:2]]))]


def summary(cells: list[dict[str, Any]]) -> Summary:
    first = cells[0]
    rates = [cell["jobs_per_s"] for cell in cells]
    middle = {
        name: median(cell[name] for cell in cells) for name in ("p50_ms", "p99_ms", "polls_per_job", "load_cpu_share")
    }
    return Summary(
        first["system"], first["mode"], first["concurrency"], median(rates), min(rates), max(rates), **middle,
        cpu_ms=medians(cell["cpu_ms"] for cell in cells), rss_mb=medians(cell["rss_mb"] for cell in cells),
    )  # fmt: skip


def medians(parts: Iterable[dict[str, float]]) -> dict[str, float]:
    rows = list(parts)
    names = {name for row in rows for name in row}
    return {SAME.get(name, name): median(row[name] for row in rows if name in row) for name in names}


def line(number: int, rounds: int, cell: dict[str, Any]) -> str:
    """One measurement, as it is shown while more are made."""
    return (
        f"round {number}/{rounds}  {cell['system']:<9} {cell['mode']:<5} {cell['concurrency']:>3}  "
        f"{cell['jobs_per_s']:7.0f} jobs/s  p50 {cell['p50_ms']:6.1f} ms  p99 {cell['p99_ms']:6.1f} ms  "
        + "  ".join(f"{name} {ms:.2f}" for name, ms in cell["cpu_ms"].items() if ms >= 0.005)
    )


def text(result: dict[str, Any]) -> str:
    """The tables, in Markdown."""
    rows = summaries(result)
    return "\n".join([*speeds(rows), "", *cpu(rows), "", *memory(result, rows)])


def speeds(rows: list[Summary]) -> list[str]:
    plain = {row.concurrency: row for row in rows if row.system == "plain"}
    lines = [
        "| clients | | jobs/s, median (least–most) | ratio to plain | p50 ms | ratio | p99 ms | polls/job |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        base = plain.get(row.concurrency)
        lines.append(
            f"| {row.concurrency} | {NAMES[row.system, row.mode]} "
            f"| {row.jobs_per_s:,.0f} ({row.least:,.0f}–{row.most:,.0f}) "
            f"| {ratio(row.jobs_per_s, base and base.jobs_per_s)} | {row.p50_ms:.1f} "
            f"| {ratio(row.p50_ms, base and base.p50_ms)} | {row.p99_ms:.1f} | {row.polls_per_job:.1f} |"
        )
    return lines


def ratio(value: float, base: float | None) -> str:
    return f"{value / base:.2f}" if base else ""


def cpu(rows: list[Summary]) -> list[str]:
    lines = [
        "CPU milliseconds a job, by process (all of a name's processes together; `gateway` is the plain app's web "
        "tier, the plain worker runs the model itself):",
        "",
        f"| clients | | {' | '.join(COSTS)} | sum | load generator (share of a core) |",
        f"| ---: | --- | {'---: | ' * len(COSTS)}---: | ---: |",
    ]
    for row in rows:
        shown = [f"{row.cpu_ms[name]:.2f}" if name in row.cpu_ms else "" for name in COSTS]
        whole = sum(row.cpu_ms.get(name, 0.0) for name in COSTS)
        lines.append(
            f"| {row.concurrency} | {NAMES[row.system, row.mode]} | {' | '.join(shown)} | {whole:.2f} "
            f"| {row.cpu_ms['load']:.2f} ({row.load_cpu_share:.0%}) |"
        )
    return lines


def memory(result: dict[str, Any], rows: list[Summary]) -> list[str]:
    most = max(row.concurrency for row in rows)
    lines = ["Resident memory at the end, MB, of the largest process of each name:", ""]
    for system in dict.fromkeys(row.system for row in rows):
        last = [row for row in rows if row.system == system and row.concurrency == most][-1]
        lines.append(f"- {system}: " + ", ".join(f"{name} {mb:.0f}" for name, mb in sorted(last.rss_mb.items())))
    seconds = result["import_s"]
    lines += [
        "",
        f"Importing the gateway: {median(seconds):.2f} s ({seconds[0]:.2f}–{seconds[-1]:.2f}, fresh interpreter).",
    ]
    return lines


def heading(result: dict[str, Any]) -> str:
    machine, versions = result["machine"], result["versions"]
    return (
        f"{result['when'][:16].replace('T', ' ')} UTC, `{result['command']}`: {result['rounds']} rounds of "
        f"{result['seconds']:g} s, alternating; load before {result['load_before']}. "
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory']}, {machine['system']}; "
        + ", ".join(f"{name} {number}" for name, number in versions.items())
        + "."
    )


def write(result: dict[str, Any]) -> None:
    """Put the tables into the page."""
    page = PAGE.read_text()
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n{heading(result)}\n\n{text(result)}\n{END}{after}")
