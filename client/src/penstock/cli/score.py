"""`penstock score`."""

import json
import os
from pathlib import Path
from typing import Any

import click
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from penstock.cli import screen
from penstock.cli.following import follow, span, told
from penstock.cli.session import complete_models, connect, json_option
from penstock.cli.values import assignments, pairs, split
from penstock.client import Penstock
from penstock.scoring import Scoring
from penstock.tables import OBJECT, files, format_of

FORMAT = click.Choice(["jsonl", "csv", "parquet"])
FILE = click.Path(path_type=Path, dir_okay=False)


def mapped(_ctx: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    """Callback of `input=column`, `input=a,b` and `input=["a", "b"]`, repeated."""
    return {name: columns(text) for name, text in map(split, values)}


def columns(text: str) -> str | list[str]:
    if text.startswith("["):
        try:
            found = json.loads(text)
        except ValueError as error:
            raise click.BadParameter(f"{text!r} is no JSON list of columns: {error}") from error
        if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
            raise click.BadParameter(f"{text!r} is no list of columns")
        return found
    return text.split(",") if "," in text else text


def names(_ctx: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> list[str]:
    """Callback of `--keep a,b`, repeated."""
    return [name for value in values for name in value.split(",") if name]


def writable(_ctx: click.Context, _parameter: click.Parameter, value: Path | None) -> Path | None:
    """A path that can be written to, told before anything is sent."""
    if value is not None and not os.access(value.parent, os.W_OK):
        raise click.BadParameter(f"folder {value.parent} is not there, or cannot be written to")
    return value


output_option = click.option(
    "-o", "--output", type=FILE, callback=writable, help="Where the output goes; its ending tells the format."
)
errors_option = click.option("--errors", type=FILE, callback=writable, help="Where the rows that failed go (JSONL).")


@click.command(short_help="Run a table's rows through a model.")
@click.argument("model", shell_complete=complete_models)
@click.argument("rows", nargs=-1, required=True, metavar="ROWS...")
@output_option
@errors_option
@click.option("--map", "mapping", multiple=True, callback=mapped, metavar="INPUT=COLUMN,…", help="Where an input is.")
@click.option("--custom-id", metavar="COLUMN", help="Names rows.  [default: custom_id, where there is one]")
@click.option("--keep", multiple=True, callback=names, metavar="COLUMN,…", help="Passed through to the output.")
@click.option("-p", "--parameter", "parameters", multiple=True, callback=assignments, metavar="NAME=VALUE")
@click.option("--format", type=FORMAT, help="Of ROWS, where their names do not tell.")
@click.option("--output-format", type=FORMAT, help="Where the ending of --output does not tell.")
@click.option("--version", metavar="V", help="Version of the model; else the gateway chooses.")
@click.option("--priority", type=click.Choice(["high", "normal", "low"]))
@click.option("--max-failed-rows", type=click.IntRange(min=0), help="More than that fail the run.")
@click.option("--shard-rows", type=click.IntRange(min=1), help="Rows that are run together.  [default: about 1 s]")
@click.option("--result-ttl", "result_ttl_s", type=int, metavar="SECONDS", help="How long the output is kept.")
@click.option("--metadata", multiple=True, callback=pairs, metavar="KEY=TEXT", help="May be repeated.")
@click.option("--webhook", metavar="URL", help="Call this address at the end.")
@click.option("--dry-run", is_flag=True, help="Count the rows, look at the first 1,000, estimate, and run nothing.")
@click.option("--no-wait", is_flag=True, help="Print the id and leave.")
@json_option
def score(
    *,
    model: str,
    rows: tuple[str, ...],
    output: Path | None,
    errors: Path | None,
    no_wait: bool,
    as_json: bool,
    dry_run: bool,
    **options: Any,
) -> None:
    """Run the rows of a table through MODEL.

    ROWS are files (JSONL, CSV or Parquet), folders of them, patterns, ids of uploads, or one s3://bucket/key. The
    farm does it: Ctrl-C leaves the run going.

    \b
    penstock score minilm sentences.csv -o vectors.parquet
    penstock score mlp rows.parquet -o out.parquet --map x=a,b,c --keep customer --errors errors.jsonl
    penstock score minilm 'days/*.jsonl' -o out.jsonl --max-failed-rows 100
    penstock score minilm s3://lake/2026/*.parquet -o out.parquet --dry-run
    """
    if output is None and not (no_wait or dry_run):
        raise click.UsageError("say where the output goes: -o out.parquet, or --no-wait to fetch it later")
    if options["output_format"] is None and output is not None:
        options["output_format"] = format_of(output)
    wanted = {name: value for name, value in options.items() if value not in (None, {}, [])}
    with connect() as client:
        begun = start(client, model, rows, dry_run=dry_run, **wanted)
        if no_wait and not as_json:
            return click.echo(begun.id)
        if no_wait:
            return shown(begun, as_json=as_json)
        if screen.console(stderr=True).is_terminal:
            screen.note(f"{begun.id} runs {begun.model}@{begun.version}")
        finish(client, follow(client, begun), output, errors, as_json=as_json)


def start(client: Penstock, model: str, rows: tuple[str, ...], **options: Any) -> Scoring:
    """Upload, with a bar on a terminal, and start."""
    if len(rows) == 1 and rows[0].startswith("s3://"):
        return client.scorings.create(model, rows[0], **options)
    sources: list[str | Path] = []
    for one in rows:
        sources += [one] if one.startswith(OBJECT) else files(one)
    local = [one for one in sources if isinstance(one, Path)]
    bar = (TextColumn("upload"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = screen.console(stderr=True)
    try:
        with Progress(*bar, console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task("upload", total=sum(one.stat().st_size for one in local))
            return client.scorings.create(model, sources, progress=lambda sent: progress.advance(task, sent), **options)
    except KeyboardInterrupt:
        screen.note("interrupted before it was started")
        raise


def finish(client: Penstock, done: Scoring, output: Path | None, errors: Path | None, *, as_json: bool) -> None:
    """Fetch what came of it, say so, and leave with the code that its state means."""
    if errors is not None and done.errors is not None:
        client.objects.download(done.errors.object, errors)
    if output is not None and done.output is not None:
        client.objects.download(done.output.object, output)
    shown(done, output=output, errors=errors, as_json=as_json)
    done.raise_for_failure()


def shown(one: Scoring, *, output: Path | None = None, errors: Path | None = None, as_json: bool) -> None:
    if as_json:
        return screen.show_json(one.raw)
    return screen.show_fields(fields(one, output, errors))


def fields(one: Scoring, output: Path | None = None, errors: Path | None = None) -> list[tuple[str, Any]]:
    """A scoring as a person wants to see it."""
    found: list[tuple[str, Any]] = [
        ("id", one.id),
        ("model", f"{one.model}@{one.version}" if one.version else one.model),
        ("status", screen.state(one.status)),
    ]
    if rows := told(one):
        found.append(("rows", rows.replace(" rows", "", 1)))
    if one.round > 1:
        found.append(("round", str(one.round)))
    if one.estimate is not None:
        found += estimated(one)
    if one.output is not None:
        found.append(("output", str(output) if output else f"{one.output.object} ({one.output.bytes:,} bytes)"))
    if one.errors is not None:
        found.append(("errors", str(errors) if errors else f"{one.errors.object} ({one.errors.rows or 0:,} rows)"))
    if one.error is not None:
        found.append(("error", f"{one.error.detail} ({one.error.code})"))
    if one.created_at and one.completed_at:
        found.append(("took", span((one.completed_at - one.created_at).total_seconds())))
    return found


def estimated(one: Scoring) -> list[tuple[str, Any]]:
    found = one.estimate
    if found is None:
        return []
    seconds = "unknown: nothing was measured yet" if found.seconds is None else f"about {span(found.seconds)}"
    return [("estimate", f"{found.rows:,} rows, {found.shards:,} shards, {found.bytes:,} bytes"), ("time", seconds)]
