"""`penstock dead-letters`: jobs that failed, and their way back to the queue."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import click
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from penstock.cli import screen
from penstock.cli.lazy import Entry, LazyGroup
from penstock.cli.session import complete_models, connect, json_option
from penstock.cli.values import pairs
from penstock.client import Penstock
from penstock.dead_letters import DeadLetter, Replay

CLIENT = {
    "list": Entry("penstock.cli.dead_letters:show_all", "List jobs that failed, the last one first."),
    "replay": Entry("penstock.cli.dead_letters:replay", "Send failed jobs back to the queue."),
    "refused": Entry("penstock.cli.dead_letters:refused", "What was pushed to the broker and is no job (admin key)."),
}
#: Seconds of each unit of a duration.
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
#: The gateway's largest page.
PAGE = 500


@click.group(cls=LazyGroup, sections={"Commands": CLIENT}, short_help="Jobs that failed, and their way back.")
def dead_letters() -> None:
    """Jobs that failed, and their way back to the queue."""


def moment(_ctx: click.Context, _parameter: click.Parameter, text: str | None) -> str | None:
    """`2h` ago, or a time such as 2026-01-31T12:00:00Z, as RFC 3339."""
    if not text:
        return None
    if text[:-1].isdecimal() and text[-1] in UNITS:
        return (datetime.now(UTC) - timedelta(seconds=int(text[:-1]) * UNITS[text[-1]])).isoformat()
    try:
        return datetime.fromisoformat(text).astimezone().isoformat()
    except ValueError as error:
        raise click.BadParameter(f"{text!r} must be 90s, 30m, 2h, 7d (ago), or a time: 2026-01-31T12:00") from error


def filters(command: Any) -> Any:
    for option in reversed(
        [
            click.option("--model", metavar="NAME", shell_complete=complete_models),
            click.option("--version"),
            click.option("--code", help="What they failed of, e.g. model_error."),
            click.option("--since", callback=moment, metavar="WHEN", help="Failed since: 2h, 7d, or a time."),
            click.option("--until", callback=moment, metavar="WHEN", help="Failed until then."),
            click.option(
                "--metadata", multiple=True, callback=pairs, metavar="KEY=TEXT", help="Submitted with it; repeatable."
            ),
        ]
    ):
        command = option(command)
    return command


@click.command(short_help="List jobs that failed, the last one first.")
@filters
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True)
@click.option("--all", "wants_all", is_flag=True, help="All there are.")
@json_option
def show_all(limit: int, wants_all: bool, as_json: bool, **which: Any) -> None:
    """List jobs that failed, the last one first."""
    with connect() as client:
        found = client.dead_letters.list(**which, page_size=PAGE if wants_all else min(limit, PAGE))
        listed = list(found if wants_all else islice(found, limit))
    if as_json:
        return screen.show_json([one.raw for one in listed])
    return show(listed) if listed else screen.note("no dead letters")


def show(letters: list[DeadLetter]) -> None:
    rows = [
        (
            one.id,
            f"{one.model}@{one.version}",
            one.code,
            f"{one.failed_at.astimezone():%Y-%m-%d %H:%M:%S}" if one.failed_at else "",
            str(one.attempt),
            str(one.replays),
            screen.preview(one.error.detail if one.error else ""),
        )
        for one in letters
    ]
    screen.show_table(("ID", "MODEL", "CODE", "FAILED AT", "ATTEMPT", "REPLAYS", "ERROR"), rows)


@click.command(short_help="Send failed jobs back to the queue.")
@click.argument("ids", metavar="[ID]...", nargs=-1)
@filters
@click.option("--all", "wants_all", is_flag=True, help="All there are.")
@click.option("--dry-run", is_flag=True, help="Only say how many there are.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Jobs a second.  [default: no limit]")
@click.option("--no-wait", is_flag=True, help="Do not follow it to its end.")
@json_option
def replay(
    ids: tuple[str, ...],
    wants_all: bool,
    dry_run: bool,
    rate: float | None,
    no_wait: bool,
    as_json: bool,
    **which: Any,
) -> None:
    """Send failed jobs back to the queue, oldest first: those with the IDs, or those that the options choose.

    The farm does it: breaking off here ends nothing.
    """
    with connect() as client:
        if dry_run:
            plan = client.dead_letters.plan(ids=ids, **which, all=wants_all)
            if as_json:
                return screen.show_json(plan.raw)
            screen.note(f"{'' if plan.complete else 'at least '}{plan.matched} would run again")
            return show(list(plan.sample)) if plan.sample else None
        begun = client.dead_letters.replay(ids=ids, **which, all=wants_all, rate=rate)
        done = begun if no_wait else follow(client, begun)
    if as_json:
        return screen.show_json(done.raw)
    return screen.show_fields([("replay", done.id), ("status", done.status), ("jobs", words(done))])


def follow(client: Penstock, begun: Replay) -> Replay:
    """The replay at its end; a terminal shows how far it is meanwhile."""
    console = screen.console(stderr=True)
    if not console.is_terminal:
        return client.dead_letters.wait(begun)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed} jobs"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(begun.id, total=None)
        return last(update(progress, task, one) for one in client.dead_letters.watch(begun))


def update(progress: Progress, task: Any, one: Replay) -> Replay:
    progress.update(task, completed=one.replayed)
    return one


def last(replays: Iterator[Replay]) -> Replay:
    *_, found = replays
    return found


def words(done: Replay) -> str:
    told = f"{done.replayed} queued again"
    return f"{told}, {done.skipped} could not be" if done.skipped else told


@click.command(short_help="What was pushed to the broker and is no job (admin key).")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@json_option
def refused(limit: int, as_json: bool) -> None:
    """What was pushed to the broker and is no job; takes an admin key."""
    with connect() as client:
        found = client.refused_messages(limit=limit)
    if as_json:
        return screen.show_json(found)
    rows = [(one["refused_at"], one["queue"], str(one["bytes"]), one["reason"]) for one in found]
    return screen.show_table(("REFUSED AT", "QUEUE", "BYTES", "REASON"), rows) if rows else screen.note("none")
