"""What commands show: tables and colours on a terminal, plain lines and JSON elsewhere."""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from penstock.job import Job

COLOURS = {
    "queued": "yellow",
    "running": "cyan",
    "validating": "cyan",
    "merging": "cyan",
    "canceling": "magenta",
    "succeeded": "green",
    "completed": "green",
    "failed": "red",
    "canceled": "magenta",
    "expired": "magenta",
}
#: Wide enough that nothing piped is ever cut or wrapped.
PIPED_WIDTH = 100_000
#: Characters of an output's value that a terminal shows.
PREVIEW = 400


def console(*, stderr: bool = False) -> Console:
    found = Console(stderr=stderr, highlight=False)
    return found if found.is_terminal else Console(stderr=stderr, highlight=False, width=PIPED_WIDTH)


def show_json(data: Any) -> None:
    """Indented for a person, on one line for a program."""
    click.echo(json.dumps(data, indent=2 if sys.stdout.isatty() else None, ensure_ascii=False))


def show(table: Table) -> None:
    found = console()
    if found.is_terminal:
        found.print(table)
        return
    with found.capture() as capture:
        found.print(table)
    for line in capture.get().splitlines():
        click.echo(line.rstrip())


def note(text: str) -> None:
    """A word to a person: on stderr, so that it is never part of what a script reads."""
    console(stderr=True).print(Text(text, style="dim"))


def show_table(headings: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, heading in enumerate(headings):
        table.add_column(heading, no_wrap=place == 0, overflow="fold")
    for row in rows:
        table.add_row(*row)
    show(table)


def show_fields(fields: Iterable[tuple[str, str | Text]]) -> None:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in fields:
        grid.add_row(name, value)
    show(grid)


def status(job: Job) -> Text:
    return state(job.status)


def state(name: str) -> Text:
    return Text(name, style=COLOURS.get(name, ""))


def show_job(job: Job, outputs: dict[str, Any] | None) -> None:
    """A job as a person wants to see it."""
    show_fields([*life(job), *((f"outputs.{name}", preview(value)) for name, value in (outputs or {}).items())])


def life(job: Job) -> Iterable[tuple[str, str | Text]]:
    yield "id", job.id
    yield "model", model_of(job)
    yield "status", status(job)
    if waits := waiting(job):
        yield "waits", waits
    if job.error is not None:
        yield "error", f"{job.error.detail} ({job.error.code})"
    if job.started_at:
        yield "queue", f"{job.metrics.queue_ms:g} ms"
    if job.done and job.started_at:
        yield "compute", f"{job.metrics.compute_ms:g} ms on {job.metrics.device}, batch of {job.metrics.batch_size}"
    for step in job.metrics.steps:
        times = f"queue {step.queue_ms:g} ms, compute {step.compute_ms:g} ms"
        yield f"  {step.name}", f"{times}, {step.items} of {step.model}@{step.version}"
    if job.attempt > 1:
        yield "attempt", attempts(job)
    if job.created_at:
        yield "created", f"{job.created_at.astimezone():%Y-%m-%d %H:%M:%S} ({age(job)} ago)"
    if job.metadata:
        yield "metadata", " ".join(f"{key}={value}" for key, value in job.metadata.items())


def attempts(job: Job) -> str:
    """The attempt, and what became of those before."""
    counts = [("failed", job.failures), ("lost a worker", job.worker_losses), ("interrupted", job.interruptions)]
    words = [f"{count} {name}" for name, count in counts if count]
    return f"{job.attempt} ({', '.join(words)})" if words else str(job.attempt)


def model_of(job: Job) -> str:
    return f"{job.model}@{job.version}" if job.version else job.model


def waiting(job: Job) -> str:
    """Why and how long a queued job waits; empty for others."""
    if job.status != "queued":
        return ""
    words = [(job.waiting_reason or "").replace("_", " ")]
    if job.queue and job.queue.position is not None:
        words.append(f"position {job.queue.position}")
    if job.queue and job.queue.eta_s is not None:
        words.append(f"about {job.queue.eta_s:g} s")
    return ", ".join(word for word in words if word)


def age(job: Job) -> str:
    if job.created_at is None:
        return ""
    seconds = max(0, int((datetime.now(UTC) - job.created_at).total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def preview(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= PREVIEW else f"{text[:PREVIEW]}… ({shape(value)}; --json or -o for all of it)"


def shape(value: Any) -> str:
    """`2 × 384` for nested lists."""
    sizes = []
    while isinstance(value, list) and value:
        sizes.append(str(len(value)))
        value = value[0]
    return " × ".join(sizes) or f"{len(str(value))} characters"
