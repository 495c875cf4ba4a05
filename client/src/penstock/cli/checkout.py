"""The operator's commands: they live in a checkout of Penstock, and are imported from it at their use."""

import os
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click

#: What makes a folder a checkout.
MARKS = ("commands.py", "settings.py")


class NoCheckout(click.ClickException):
    exit_code = 2


def command(*names: str) -> click.Command:
    """The operator's command of that name (a group's name first); raises NoCheckout."""
    found: click.Command = operator(" ".join(names))
    for name in names:
        inner = found.commands.get(name) if isinstance(found, click.Group) else None
        if inner is None:
            raise NoCheckout(f"the checkout {find()} has no command `penstock {' '.join(names)}`")
        found = inner
    return found


def operator(asked: str) -> click.Group:
    """The group of operator commands, from the checkout put first on the import path."""
    home = find()
    if home is None:
        raise NoCheckout(f"`penstock {asked}` runs in a checkout of Penstock: go there, or name it with PENSTOCK_HOME")
    if str(home) not in sys.path:
        sys.path.insert(0, str(home))
    try:
        group = import_module("commands").operator
    except ImportError as error:
        raise NoCheckout(
            f"{home / 'commands.py'} cannot be imported ({error}): is this its virtual environment?"
        ) from error
    if not isinstance(group, click.Group):
        raise NoCheckout(f"{home / 'commands.py'} is not Penstock's: its `operator` is no group of commands")
    return group


def find() -> Path | None:
    """$PENSTOCK_HOME, else the working directory or the nearest parent that is one, else where an
    editable install came from."""
    if home := os.environ.get("PENSTOCK_HOME"):
        folder = Path(home).resolve()
        if not is_checkout(folder):
            raise NoCheckout(f"PENSTOCK_HOME is {home}, which is no checkout of Penstock ({' and '.join(MARKS)})")
        return folder
    return next((folder for folder in candidates() if is_checkout(folder)), None)


def candidates() -> Iterator[Path]:
    here = Path.cwd()
    yield from (here, *here.parents)
    # <checkout>/client/src/penstock/cli/checkout.py
    yield from Path(__file__).resolve().parents[4:5]


def is_checkout(folder: Path) -> bool:
    return all((folder / mark).is_file() for mark in MARKS)


class Unraised(Exception):
    """Stands for the farm's errors while nothing of the farm is imported."""


def server_error() -> type[Exception]:
    """The root of the farm's own error tree, once an operator command has imported it."""
    found = getattr(sys.modules.get("errors"), "PenstockError", None)
    return found if isinstance(found, type) and issubclass(found, Exception) else Unraised
