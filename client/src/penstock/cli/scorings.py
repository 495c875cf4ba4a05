"""`penstock scorings`: runs that were started, and the way back to them."""

from itertools import islice
from pathlib import Path

import click

from penstock.cli import screen
from penstock.cli.following import follow, told
from penstock.cli.lazy import Entry, LazyGroup
from penstock.cli.score import errors_option, finish, output_option, shown
from penstock.cli.session import complete_models, connect, json_option
from penstock.scoring import Scoring

CLIENT = {
    "list": Entry("penstock.cli.scorings:show_all", "List scorings, newest first."),
    "get": Entry("penstock.cli.scorings:get", "Show a scoring, and fetch what came of it."),
    "attach": Entry("penstock.cli.scorings:attach", "Come back to a scoring that runs."),
    "cancel": Entry("penstock.cli.scorings:cancel", "Begin no more rows; what is done is kept."),
    "retry-failed": Entry("penstock.cli.scorings:retry_failed", "Run the failed rows again."),
}
STATES = ["queued", "validating", "running", "merging", "canceling", "completed", "failed", "canceled"]
#: The gateway's largest page.
PAGE = 500
id_argument = click.argument("scoring_id", metavar="ID")


@click.group(cls=LazyGroup, sections={"Commands": CLIENT}, short_help="Tables that are scored, and what came of them.")
def scorings() -> None:
    """Tables that are scored, and what came of them.

    \b
    penstock scorings list --status running
    penstock scorings attach scr_01J… -o out.parquet
    penstock scorings retry-failed scr_01J…
    """


@click.command(short_help="List scorings, newest first.")
@click.option("--status", type=click.Choice(STATES))
@click.option("--model", metavar="NAME", shell_complete=complete_models)
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True)
@click.option("--all", "wants_all", is_flag=True, help="All there are.")
@json_option
def show_all(status: str | None, model: str | None, limit: int, wants_all: bool, as_json: bool) -> None:
    """List scorings, newest first."""
    with connect() as client:
        found = client.scorings.list(status=status, model=model, page_size=PAGE if wants_all else min(limit, PAGE))
        listed = list(found if wants_all else islice(found, limit))
    if as_json:
        return screen.show_json([one.raw for one in listed])
    if not listed:
        return screen.note("no scorings")
    return screen.show_table(("ID", "MODEL", "STATUS", "CREATED", "ROWS"), [row(one) for one in listed])


def row(one: Scoring) -> tuple[str, ...]:
    created = f"{one.created_at.astimezone():%Y-%m-%d %H:%M}" if one.created_at else ""
    return one.id, f"{one.model}@{one.version}", one.status, created, told(one)


@click.command(short_help="Show a scoring, and fetch what came of it.")
@id_argument
@output_option
@errors_option
@json_option
def get(scoring_id: str, output: Path | None, errors: Path | None, as_json: bool) -> None:
    """Show a scoring as it is now; with -o and --errors, fetch what came of it."""
    with connect() as client:
        found = client.scorings.get(scoring_id)
        if output is not None:
            client.scorings.download(found, output)
        if errors is not None and found.errors is not None:
            client.objects.download(found.errors.object, errors)
    shown(found, output=output, errors=errors, as_json=as_json)


@click.command(short_help="Come back to a scoring that runs.")
@id_argument
@output_option
@errors_option
@json_option
def attach(scoring_id: str, output: Path | None, errors: Path | None, as_json: bool) -> None:
    """Watch a scoring to its end; with -o and --errors, fetch what came of it.

    \b
    penstock scorings attach scr_01J… -o out.parquet
    """
    with connect() as client:
        found = client.scorings.get(scoring_id)
        finish(client, found if found.done else follow(client, found), output, errors, as_json=as_json)


@click.command(short_help="Begin no more rows; what is done is kept.")
@click.argument("scoring_ids", metavar="ID...", nargs=-1, required=True)
@json_option
def cancel(scoring_ids: tuple[str, ...], as_json: bool) -> None:
    """Begin no more rows of scorings; what is done becomes their output."""
    with connect() as client:
        outcomes = [client.scorings.cancel(one) for one in scoring_ids]
    if as_json:
        return screen.show_json([one.raw for one in outcomes] if len(outcomes) > 1 else outcomes[0].raw)
    return screen.show_table(("ID", "STATUS"), [(one.id, screen.state(one.status)) for one in outcomes])


@click.command(short_help="Run the failed rows again.")
@id_argument
@click.option("--no-wait", is_flag=True, help="Do not watch it to its end.")
@output_option
@errors_option
@json_option
def retry_failed(scoring_id: str, no_wait: bool, output: Path | None, errors: Path | None, as_json: bool) -> None:
    """Run the failed rows of a scoring again, under its id; the output then holds the rows of every round."""
    with connect() as client:
        begun = client.scorings.retry_failed(scoring_id)
        if no_wait:
            return shown(begun, as_json=as_json)
        return finish(client, follow(client, begun), output, errors, as_json=as_json)
