"""`penstock tune` on a terminal: a bar while it measures, a table, a picture, and the manifest."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from errors import LoadError
from models.catalog import Entry
from workers.tuning.points import Point
from workers.tuning.run import Plan, chosen, measure, write

HEAD = f"{'runtime':<10} {'instances':>9} {'threads':>8} {'batch':>6} {'rows/s':>11} {'p50 ms':>10} {'p99 ms':>10}"


class Tuned(msgspec.Struct, frozen=True):
    """What `--json` prints."""

    model: str
    version: str
    device: str
    seconds: float
    target_ms: float | None
    points: list[Point]
    best: Point | None
    #: The picture and the manifest, where they were written.
    plot: str
    written: str
    #: True where Ctrl-C ended it early.
    interrupted: bool


def tune(entry: Entry, plan: Plan, *, picture: Path | None, save: bool) -> Tuned:
    """Measure, draw and write; raises LoadError where nothing could be measured."""
    points: list[Point] = []
    interrupted = False
    try:
        watched(entry, plan, points)
    except KeyboardInterrupt:
        interrupted = True
    if points and all(point.reason for point in points):
        raise LoadError(points[0].reason)
    found = chosen(points, plan)
    drawn = drawing(entry, plan, points, found, picture) if picture is not None and points else ""
    # Half a measurement may have missed the best.
    written = str(write(entry, found)) if save and found is not None and not interrupted else ""
    return Tuned(
        entry.manifest.name,
        entry.version,
        plan.device,
        plan.seconds,
        plan.target_ms,
        points,
        found,
        drawn,
        written,
        interrupted,
    )


def watched(entry: Entry, plan: Plan, points: list[Point]) -> None:
    """Measure with a bar and the time left, where there is a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task(f"tuning {entry.manifest.name}", total=len(plan.setups) * len(plan.batches))

        def tell(point: Point) -> None:
            points.append(point)
            progress.advance(bar)
            if console.is_terminal:
                progress.console.print(line(point), highlight=False)

        measure(entry, plan, tell)


def drawing(entry: Entry, plan: Plan, points: Sequence[Point], found: Point | None, picture: Path) -> str:
    try:
        from workers.tuning.plot import draw
    except ImportError:
        click.echo("no picture: matplotlib is not installed here", err=True)
        return ""
    title = f"{entry.manifest.name} version {entry.version} on {plan.device}, {plan.seconds:g} s a point"
    try:
        draw(points, found, picture, title=title, target_ms=plan.target_ms)
    except OSError as error:
        click.echo(f"no picture: {picture}: {error.strerror}", err=True)
        return ""
    return str(picture)


def line(point: Point, mark: str = "") -> str:
    head = f"{point.runtime:<10} {point.instances:>9} {point.threads:>8} {point.batch:>6}"
    if point.reason:
        return f"{head}  {point.reason[:100]}"
    return f"{head} {point.rows_per_s:>11,.1f} {point.p50_ms:>10,.2f} {point.p99_ms:>10,.2f}{mark}"


def show(tuned: Tuned) -> None:
    click.echo(HEAD)
    for point in tuned.points:
        click.echo(line(point, "  best" if point == tuned.best else ""))
    if tuned.interrupted:
        click.echo("interrupted: what was measured until then; the manifest is as it was")
    if tuned.best is None:
        quickest: Any = min((p for p in tuned.points if not p.reason), key=lambda p: p.p99_ms, default=None)
        if quickest is not None:
            click.echo(f"nothing meets {tuned.target_ms:g} ms; the quickest has a p99 of {quickest.p99_ms:g} ms")
        return
    best = tuned.best
    words = f"runtime {best.runtime}, instances {best.instances}, threads {best.threads}"
    click.echo(f"best: {words}, batching.max_items {best.batch}: {best.rows_per_s:,.1f} rows/s")
    if tuned.plot:
        click.echo(f"picture: {tuned.plot}")
    if tuned.written:
        click.echo(f"written into {tuned.written}")
    elif not tuned.interrupted:
        click.echo("--write puts it into the manifest")
