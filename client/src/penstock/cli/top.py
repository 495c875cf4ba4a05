"""`penstock top`: what the farm does, as it does it."""

import os
import select
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import click
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from penstock.cli import screen
from penstock.cli.load import LANES, Figures, Load, look
from penstock.cli.session import connect, json_option
from penstock.client import Penstock
from penstock.errors import Away, Busy, PenstockError, Unreachable

HEADINGS = (
    "MODEL", "HIGH", "NORMAL", "LOW", "WORKERS", "EXECUTORS", "JOBS/S", "ROWS/S", "BATCHES/S", "MEAN BATCH",
    "DRAINED IN",
)  # fmt: skip


@click.command(short_help="What the farm does, as it does it.")
@click.option("--interval", type=click.FloatRange(min=0.2), default=1.0, show_default=True, metavar="SECONDS")
@click.option("--once", is_flag=True, help="Show it once and leave; so does anything but a terminal.")
@json_option
def top(interval: float, once: bool, as_json: bool) -> None:
    """Watch queues, workers, batches and throughput; `q` or Ctrl-C leaves.

    Rates are of the last interval. --json shows it once.

    \b
    penstock top
    penstock top --interval 5
    penstock top --once --json | jq '.models[] | select(.waiting > 0)'
    """
    with connect() as client:
        first = look(client)
        if once or as_json or not screen.console().is_terminal:
            time.sleep(interval)
            second = look(client, first)
            if as_json:
                return screen.show_json(second.json())
            return screen.show(table(second))
        return watch(client, first, interval)


def watch(client: Penstock, load: Load, interval: float) -> None:
    """Draw anew until somebody has had enough."""
    with (
        suppress(KeyboardInterrupt),
        keys() as pressed,
        Live(drawn(client, load, ""), console=screen.console(), screen=True, auto_refresh=False) as live,
    ):
        while pressed(interval) not in ("q", "Q"):
            try:
                load, trouble = look(client, load), ""
            # A farm that restarts is watched on.
            except (Unreachable, Away, Busy) as error:
                trouble = told(error)
            live.update(drawn(client, load, trouble), refresh=True)


def told(error: PenstockError) -> str:
    return f"no answer: {error.detail}"


def drawn(client: Penstock, load: Load, trouble: str) -> Group:
    rows = sum(one.rows_per_s or 0 for one in load.figures)
    batches = sum(one.batches_per_s or 0 for one in load.figures)
    head = Text.assemble(
        ("penstock ", "bold"), client.url, f"   {time.strftime('%H:%M:%S')}   ",
        f"{len(load.workers)} workers   {sum(one.waiting for one in load.figures)} waiting   ",
        f"{rows:g} rows/s   {batches:g} batches/s   {load.in_flight} of yours in flight",
    )  # fmt: skip
    return Group(head, Text(trouble, style="red"), table(load), Text("\nq leaves", style="dim"))


def table(load: Load) -> Table:
    found = Table(box=None, pad_edge=False, header_style="bold")
    for place, heading in enumerate(HEADINGS):
        found.add_column(heading, no_wrap=True, justify="left" if place == 0 else "right")
    for one in sorted(load.figures, key=busy):
        found.add_row(*row(one), style="" if one.executors or one.waiting else "dim")
    return found


def busy(one: Figures) -> tuple[float, int, str]:
    """The busiest first."""
    return -(one.rows_per_s or 0), -one.waiting, one.model


def row(one: Figures) -> tuple[str, ...]:
    lanes = [str(one.lanes[lane] or "") for lane in LANES]
    rates = [number(value) for value in (one.jobs_per_s, one.rows_per_s, one.batches_per_s, one.mean_batch)]
    drained = "" if one.drain_s is None else f"{one.drain_s:.3g} s"
    return (f"{one.model}@{one.version}", *lanes, str(one.workers), str(one.executors), *rates, drained)


def number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


@contextmanager
def keys() -> Iterator[Callable[[float], str]]:
    """Waits so many seconds for a key that is pressed; empty where none is, or where there is no keyboard."""
    if not sys.stdin.isatty():
        yield without_keyboard
        return
    import termios
    import tty

    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    try:
        tty.setcbreak(keyboard)
        yield lambda seconds: pressed(keyboard, seconds)
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


def pressed(keyboard: int, seconds: float) -> str:
    return os.read(keyboard, 1).decode(errors="replace") if select.select([keyboard], [], [], seconds)[0] else ""


def without_keyboard(seconds: float) -> str:
    time.sleep(seconds)
    return ""
