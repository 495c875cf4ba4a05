"""`penstock jobs`, `cancel` and `retry`."""

from itertools import islice

import click
from rich.text import Text

from penstock.cli import screen
from penstock.cli.session import complete_jobs, complete_models, connect, json_option
from penstock.cli.values import pairs
from penstock.job import ENDED, Job

HEADINGS = ("ID", "MODEL", "STATUS", "AGE", "QUEUE MS", "COMPUTE MS", "BATCH", "DEVICE")
#: The gateway's largest page.
PAGE = 100


@click.command(short_help="List jobs, newest first.")
@click.option("--status", type=click.Choice(["queued", "running", *sorted(ENDED)]))
@click.option("--model", metavar="NAME", shell_complete=complete_models)
@click.option(
    "--metadata",
    multiple=True,
    callback=pairs,
    metavar="KEY=TEXT",
    help="Submitted with it; repeatable.",
)
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True)
@click.option("--all", "wants_all", is_flag=True, help="All there are.")
@json_option
def jobs(
    status: str | None,
    model: str | None,
    metadata: dict[str, str],
    limit: int,
    wants_all: bool,
    as_json: bool,
) -> None:
    """List jobs, newest first.

    \b
    penstock jobs --status failed --model ocr
    penstock jobs --metadata order=A-17 --all --json | jq -r '.[].id'
    """
    with connect() as client:
        size = PAGE if wants_all else min(limit, PAGE)
        found = client.jobs.list(status=status, model=model, metadata=metadata, page_size=size)
        listed = list(found if wants_all else islice(found, limit))
    if as_json:
        screen.show_json([job.raw for job in listed])
    elif listed:
        screen.show_table(HEADINGS, [row(job) for job in listed])
    else:
        screen.note("no jobs")


def row(job: Job) -> tuple[str | Text, ...]:
    ran = job.started_at is not None
    return (
        job.id,
        screen.model_of(job),
        screen.status(job),
        screen.age(job),
        f"{job.metrics.queue_ms:g}" if ran else "",
        f"{job.metrics.compute_ms:g}" if ran and job.done else "",
        str(job.metrics.batch_size or ""),
        job.metrics.device or "" if ran else "",
    )


@click.command(short_help="Cancel jobs.")
@click.argument("job_ids", metavar="ID...", nargs=-1, required=True, shell_complete=complete_jobs)
@json_option
def cancel(job_ids: tuple[str, ...], as_json: bool) -> None:
    """Cancel jobs: queued ones at once, running ones before their next batch. One that has ended stays as it is.

    \b
    penstock cancel job_01J…
    penstock jobs --status queued --all --json | jq -r '.[].id' | xargs penstock cancel
    """
    with connect() as client:
        outcomes = [client.jobs.cancel(job_id) for job_id in job_ids]
    tell(outcomes, as_json=as_json)


@click.command(short_help="Run a failed, canceled or expired job again.")
@click.argument("job_id", metavar="ID", shell_complete=complete_jobs)
@json_option
def retry(job_id: str, as_json: bool) -> None:
    """Run a failed, canceled or expired job again under the same id.

    \b
    penstock retry job_01J…
    """
    with connect() as client:
        outcomes = [client.jobs.retry(job_id)]
    tell(outcomes, as_json=as_json)


def tell(outcomes: list[Job], *, as_json: bool) -> None:
    if as_json:
        screen.show_json([job.raw for job in outcomes] if len(outcomes) > 1 else outcomes[0].raw)
    else:
        screen.show_table(("ID", "STATUS"), [(job.id, screen.status(job)) for job in outcomes])
