"""`penstock events`."""

import json
from datetime import datetime

import click
from rich.text import Text

from penstock.cli import screen
from penstock.cli.session import complete_jobs, connect, json_option
from penstock.cli.waiting import end
from penstock.events import JobEvent
from penstock.job import Job


@click.command(short_help="A job's life, as it happens.")
@click.argument("job_id", metavar="ID", shell_complete=complete_jobs)
@click.option("-f", "--follow", is_flag=True, help="Up to its end; else the job as it is now.")
@click.option("--after", metavar="EVENT", default="", help="Not what happened up to this event.")
@json_option
def events(job_id: str, follow: bool, after: str, as_json: bool) -> None:
    """Show each change in the life of the job ID: when, into which state, and why it waits.

    With --json each event is a line of JSON: its id, and the job as it is from then on.

    \b
    penstock events job_01J… --follow
    penstock events job_01J… --follow --json | jq -r .job.status
    penstock events "$(penstock submit minilm -i text=hello)" -f
    """
    with connect() as client:
        job = None if follow else client.jobs.get(job_id)
        if job is not None:
            tell(JobEvent("", job), as_json=as_json)
            return
        for event in client.jobs.events(job_id, last_event_id=after):
            tell(event, as_json=as_json)
            job = event.job
        end(job or client.jobs.get(job_id), waited=True)


def tell(event: JobEvent, *, as_json: bool) -> None:
    """One line."""
    job = event.job
    if as_json:
        click.echo(json.dumps({"id": event.id, "job": job.raw}, ensure_ascii=False))
        return
    line = Text(f"{moment(job).astimezone():%H:%M:%S.%f}"[:-3] + "  ").append_text(screen.status(job))
    for word in (screen.waiting(job), f"attempt {job.attempt}" if job.attempt > 1 else "", ran(job)):
        line.append(f"  {word}" if word else "", style="dim")
    screen.console().print(line)


def moment(job: Job) -> datetime:
    """When the job came into the state it is in, as far as it says."""
    known = [at for at in (job.completed_at, job.started_at, job.created_at) if at is not None]
    return known[0] if known else datetime.now().astimezone()


def ran(job: Job) -> str:
    if not job.done or job.started_at is None:
        return ""
    return f"{job.metrics.compute_ms:g} ms on {job.metrics.device}, batch of {job.metrics.batch_size}"
