"""`--wait`: an option, the watching, and how a job's end becomes an exit code."""

import base64
import json
import time
from pathlib import Path
from typing import Any

import click

from penstock.cli import screen
from penstock.cli.exits import OK, STILL_RUNNING
from penstock.client import Penstock
from penstock.job import Job

#: How often a terminal's line about a waiting job is renewed.
GLANCE_S = 1.0


def seconds(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> float | None:
    """Callback of `--wait [SECONDS]`; bare it means until the job ends."""
    if value is None:
        return None
    try:
        found = float(value)
    except ValueError as error:
        raise click.BadParameter(
            f"{value!r} is no number of seconds; write --wait=60, or a bare --wait at the end"
        ) from error
    if not found >= 0:
        raise click.BadParameter("it must not be negative")
    return found


wait_option = click.option(
    "--wait",
    "wait_s",
    callback=seconds,
    is_flag=False,
    flag_value="inf",
    metavar="[SECONDS]",
    help="Wait until the job has ended, or that long.",
)


def watch(client: Penstock, job: Job, wait_s: float) -> Job:
    """The job when it has ended or the time is over; a terminal shows what it does meanwhile."""
    console = screen.console(stderr=True)
    try:
        if not console.is_terminal:
            return client.jobs.get(job, wait_s=wait_s)
        until = time.monotonic() + wait_s
        with console.status(words(job)) as line:
            while not job.done and (left := until - time.monotonic()) > 0:
                job = client.jobs.get(job, wait_s=min(left, GLANCE_S))
                line.update(words(job))
        return job
    except KeyboardInterrupt:
        screen.note(f"{job.id} goes on; `penstock get {job.id} --wait` comes back to it")
        raise


def words(job: Job) -> str:
    return " ".join(word for word in (job.id, job.status, screen.waiting(job)) if word)


def outputs_of(client: Penstock, job: Job) -> dict[str, Any] | None:
    """The outputs, fetched where they are too large for the job object; None unless it succeeded."""
    return client.jobs.result(job) if job.status == "succeeded" and job.outputs is None else job.outputs


def save(outputs: dict[str, Any], path: Path) -> None:
    """Write the outputs as JSON, or the bytes where there is one output of bytes and the name is not .json."""
    values = list(outputs.values())
    one = values[0] if len(values) == 1 else None
    one = one[0] if isinstance(one, list) and len(one) == 1 else one
    try:
        if path.suffix != ".json" and isinstance(one, dict) and "b64" in one:
            path.write_bytes(base64.b64decode(one["b64"]))
        else:
            path.write_text(json.dumps(outputs, ensure_ascii=False) + "\n")
    except OSError as error:
        raise click.FileError(str(path), error.strerror or str(error)) from error


def end(job: Job, *, waited: bool) -> None:
    """Leave with the code that a job's state means; its failure is the error line."""
    job.raise_for_failure()
    click.get_current_context().exit(STILL_RUNNING if waited and not job.done else OK)
