"""`penstock upload`."""

from pathlib import Path

import click
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from penstock.cli import screen
from penstock.cli.session import connect, json_option
from penstock.client import Penstock
from penstock.objects import StoredObject


@click.command(short_help="Store files that jobs can refer to.")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@json_option
def upload(files: tuple[Path, ...], as_json: bool) -> None:
    """Store FILES and print their ids; `{"object": "<id>"}` is then an input's value.

    A large file goes in parts: after an interruption the same command sends only what is missing.

    \b
    penstock upload page.png
    penstock submit ocr -i image="{\\"object\\": \\"$(penstock upload page.png)\\"}"
    """
    with connect() as client:
        stored = [send(client, path) for path in files]
    if as_json:
        rows = [{"id": item.id, "bytes": item.bytes, "sha256": item.sha256} for item in stored]
        screen.show_json(rows if len(rows) > 1 else rows[0])
    else:
        for item in stored:
            click.echo(item.id)


def send(client: Penstock, path: Path) -> StoredObject:
    """Upload, with a bar on a terminal."""
    columns = (TextColumn(path.name), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = screen.console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task(path.name, total=path.stat().st_size)
        return client.objects.upload(path, progress=lambda sent: progress.advance(bar, sent))
