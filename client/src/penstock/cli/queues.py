"""`penstock queues`: what waits, model by model, and how long that will take."""

import click

from penstock.cli import screen
from penstock.cli.session import connect, json_option
from penstock.queues import ModelQueue

HEADINGS = ("MODEL", "POOL", "WAITING", "HIGH", "NORMAL", "LOW", "WORKERS", "EXECUTORS", "JOBS/S", "DRAINED IN")


@click.command(short_help="What waits, model by model.")
@json_option
def queues(as_json: bool) -> None:
    """What waits, model by model, who works on it, and how long that will take.

    \b
    penstock queues
    penstock queues --json | jq '.data[] | select(.waiting > 0) | .model'
    """
    with connect() as client:
        found = client.queues()
    if as_json:
        return screen.show_json(found.raw)
    screen.show_table(HEADINGS, [row(one) for one in found.queues])
    most = f" of {found.in_flight_limit}" if found.in_flight_limit is not None else ""
    return screen.note(f"yours: {found.in_flight}{most} queued or running")


def row(one: ModelQueue) -> tuple[str, ...]:
    lanes = [str(one.lanes.get(lane, 0) or "") for lane in ("high", "normal", "low")]
    rate = "" if one.jobs_per_s is None else f"{one.jobs_per_s:g}"
    return (
        f"{one.model}@{one.version}", one.pool, str(one.waiting), *lanes, str(one.workers), str(one.executors), rate,
        "" if one.drain_s is None else f"{one.drain_s:g} s",
    )  # fmt: skip
