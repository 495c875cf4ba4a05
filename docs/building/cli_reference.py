"""docs/reference/cli.md, from the help of every command."""

from collections.abc import Iterator

import click
from penstock.cli import CLIENT, cli

from docs.building.markdown import joined, text_block

WIDTH = 100
HEAD = """\
# Command line reference

Generated from the help texts: `penstock COMMAND --help`. The operator's commands run where a checkout of Penstock is;
all others come with the client alone (`pip install ./client`).
"""


def page() -> str:
    context = made(cli, "penstock", None)
    names = cli.list_commands(context)
    ordered = [name for name in names if name in CLIENT] + [name for name in names if name not in CLIENT]
    parts = [HEAD.rstrip(), "## penstock", text_block(cli.get_help(context))]
    for name in ordered:
        parts += sections(name, context, 2)
    return joined(parts)


def sections(name: str, parent: click.Context, level: int) -> Iterator[str]:
    """A command's help, then that of its own commands."""
    group = parent.command
    assert isinstance(group, click.Group)
    command = group.get_command(parent, name)
    assert command is not None
    context = made(command, name, parent)
    yield f"{'#' * level} {context.command_path}"
    yield text_block(command.get_help(context))
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            yield from sections(inner, context, level + 1)


def made(command: click.Command, name: str, parent: click.Context | None) -> click.Context:
    # No colours, and as wide wherever it is made.
    return command.context_class(
        command, info_name=name, parent=parent, terminal_width=WIDTH, max_content_width=WIDTH, color=False,
        **command.context_settings,
    )  # fmt: skip
