"""`penstock completion`."""

import os
from pathlib import Path

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command(short_help="Print the completion script for a shell.")
@click.argument("shell", required=False, type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str | None) -> None:
    """Print the completion script for SHELL, by default the one you use.

    \b
    eval "$(penstock completion bash)"            # in ~/.bashrc
    eval "$(penstock completion zsh)"             # in ~/.zshrc
    penstock completion fish > ~/.config/fish/completions/penstock.fish
    """
    name = shell or Path(os.environ.get("SHELL", "")).name
    kind = get_completion_class(name)
    if kind is None:
        raise click.UsageError(f"name your shell: {', '.join(SHELLS)}")
    click.echo(kind(ctx.find_root().command, {}, "penstock", "_PENSTOCK_COMPLETE").source())
