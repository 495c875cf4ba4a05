"""`penstock models load|unload|label|traffic|promote|rollback`: what an operator does with a model's versions."""

import time
from collections.abc import Callable
from typing import Any

import click

from penstock.cli import screen
from penstock.cli.exits import JOB_FAILED, STILL_RUNNING
from penstock.cli.models import state_of
from penstock.cli.session import complete_models, connect, json_option
from penstock.models import Model

#: Between two looks at a version that loads, seconds.
LOOK_S = 0.5
#: States that a version may leave by itself.
PASSING = ("loading", "no_worker", "not_loaded", "draining")

name_argument = click.argument("name", shell_complete=complete_models)


def versions_of(_ctx: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, float]:
    """`1=90 2=10` as weights."""
    weights: dict[str, float] = {}
    for text in given:
        version, _, weight = text.partition("=")
        try:
            weights[version] = float(weight)
        except ValueError as error:
            raise click.BadParameter(f"{text!r} must be VERSION=WEIGHT, such as 1=90") from error
    return weights


@click.command(short_help="Serve a version, whatever the policy says.")
@name_argument
@click.argument("version")
@click.option("--wait", "wait_s", type=click.FloatRange(min=0), help="Seconds to wait until it is ready.")
@json_option
def load(name: str, version: str, wait_s: float | None, as_json: bool) -> None:
    """Serve VERSION of the model NAME, whatever its policy says, beside those that are served."""
    with connect() as client:
        model = client.models.load(name, version)
        left = wait_s or 0.0
        while model.state in PASSING and left > 0:
            pause = min(LOOK_S, left)
            time.sleep(pause)
            left -= pause
            model = client.models.get(name, version)
    tell(model, as_json=as_json)
    if wait_s is not None and model.state != "ready":
        click.get_current_context().exit(JOB_FAILED if model.state == "failed" else STILL_RUNNING)


@click.command(short_help="Serve a version no more, once its jobs have run.")
@name_argument
@click.argument("version")
@json_option
def unload(name: str, version: str, as_json: bool) -> None:
    """Serve VERSION of the model NAME no more: what was accepted for it is run, then its processes end."""
    change(lambda client: client.models.unload(name, version), as_json=as_json)


@click.command(short_help="Point a label at a version, or take it away.")
@name_argument
@click.argument("label")
@click.argument("version", required=False)
@click.option("--delete", is_flag=True, help="Take the label away.")
@json_option
def label(name: str, label: str, version: str | None, delete: bool, as_json: bool) -> None:
    """Point LABEL of the model NAME at VERSION. Jobs that ask for no version go to the label `stable`.

    \b
    penstock models label minilm canary 2
    penstock models label minilm canary --delete
    """
    if delete == (version is not None):
        raise click.UsageError("name a VERSION, or --delete")
    if version is None:
        change(lambda client: client.models.unlabel(name, label), as_json=as_json)
    else:
        change(lambda client: client.models.label(name, label, version), as_json=as_json)


@click.command(short_help="Split the jobs that ask for no version by weight.")
@name_argument
@click.argument("weights", nargs=-1, callback=versions_of, metavar="VERSION=WEIGHT...")
@click.option("--clear", is_flag=True, help="End the split.")
@json_option
def traffic(name: str, weights: dict[str, float], clear: bool, as_json: bool) -> None:
    """Split the jobs of the model NAME that ask for no version between versions, or labels.

    \b
    penstock models traffic minilm 1=90 2=10
    penstock models traffic minilm --clear
    """
    if clear == bool(weights):
        raise click.UsageError("name weights, such as 1=90 2=10, or --clear")
    change(lambda client: client.models.split(name, weights), as_json=as_json)


@click.command(short_help="Send all jobs that ask for no version to one.")
@name_argument
@click.argument("version")
@json_option
def promote(name: str, version: str, as_json: bool) -> None:
    """Send every job of the model NAME that asks for no version to VERSION, which may be a label."""
    change(lambda client: client.models.promote(name, version), as_json=as_json)


@click.command(short_help="Undo the last promotion.")
@name_argument
@json_option
def rollback(name: str, as_json: bool) -> None:
    """Undo the last promotion of the model NAME; a second one leads forth again."""
    change(lambda client: client.models.rollback(name), as_json=as_json)


def change(step: Callable[[Any], Model], *, as_json: bool) -> None:
    with connect() as client:
        model = step(client)
    tell(model, as_json=as_json)


def tell(model: Model, *, as_json: bool) -> None:
    if as_json:
        screen.show_json(model.raw)
    else:
        rows = [(model.name, one.version, state_of(one)) for one in model.version_states]
        screen.show_table(("NAME", "VERSION", "STATE"), rows)
