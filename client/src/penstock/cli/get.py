"""`penstock get`."""

from pathlib import Path
from typing import Any

import click

from penstock.cli import screen
from penstock.cli.session import complete_jobs, connect, json_option
from penstock.cli.waiting import end, outputs_of, save, wait_option, watch


@click.command(short_help="Show a job, or its result.")
@click.argument("job_id", metavar="ID", shell_complete=complete_jobs)
@wait_option
@click.option("--result", "wants_result", is_flag=True, help="Print the outputs alone, all of them, as JSON.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Save the outputs.")
@json_option
def get(job_id: str, wait_s: float | None, wants_result: bool, output: Path | None, as_json: bool) -> None:
    """Show the job ID, or its result.

    \b
    penstock get job_01J… --wait
    penstock get job_01J… --result | jq .lines
    """
    with connect() as client:
        job = client.jobs.get(job_id)
        if wait_s is not None and not job.done:
            job = watch(client, job, wait_s)
        if wants_result or output:
            job.raise_for_failure()
            return collect(client.jobs.result(job) if job.outputs is None else job.outputs, wants_result, output)
        outputs = outputs_of(client, job) if wait_s is not None else job.outputs
    if as_json:
        screen.show_json({**job.raw, "outputs": outputs})
    else:
        screen.show_job(job, outputs)
    return end(job, waited=wait_s is not None)


def collect(outputs: dict[str, Any], printed: bool, file: Path | None) -> None:
    if file:
        save(outputs, file)
    if printed:
        screen.show_json(outputs)
