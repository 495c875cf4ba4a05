"""`penstock submit`."""

from pathlib import Path
from typing import Any

import click

from penstock.cli import screen
from penstock.cli.session import complete_models, connect, json_option
from penstock.cli.values import INPUT_HELP, assignments, body, pairs
from penstock.cli.waiting import end, outputs_of, save, wait_option, watch
from penstock.job import Job


@click.command(short_help="Submit a job to a model.")
@click.argument("model", required=False, shell_complete=complete_models)
@click.option("-i", "--input", "inputs", multiple=True, callback=assignments, metavar="NAME=VALUE", help=INPUT_HELP)
@click.option("-p", "--parameter", "parameters", multiple=True, callback=assignments, metavar="NAME=VALUE")
@click.option("--body", callback=body, metavar="JSON", help="The request body, @FILE or @-; other options go over it.")
@wait_option
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Save the outputs; waits.")
@click.option("--version", metavar="V", help="Version of the model; else the gateway chooses.")
@click.option("--priority", type=click.Choice(["high", "normal", "low"]))
@click.option("--timeout", "timeout_s", type=float, metavar="SECONDS", help="How long one attempt may run.")
@click.option("--queue-ttl", "queue_ttl_s", type=float, metavar="SECONDS", help="How long it may wait in the queue.")
@click.option("--deadline", metavar="TIME", help="When the result is of no use any more (RFC 3339).")
@click.option("--max-attempts", type=click.IntRange(min=1))
@click.option("--result-ttl", "result_ttl_s", type=int, metavar="SECONDS", help="How long the result is kept.")
@click.option("--metadata", multiple=True, callback=pairs, metavar="KEY=TEXT", help="May be repeated.")
@click.option("--webhook", metavar="URL", help="Call this address when the job has ended.")
@click.option("--idempotency-key", metavar="KEY", help="The same key and body find the same job again.")
@json_option
def submit(
    *,
    body: dict[str, Any],
    wait_s: float | None,
    output: Path | None,
    idempotency_key: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Submit a job to MODEL and print its id; with --wait, what became of it.

    \b
    penstock submit minilm -i text="a sentence" --wait
    penstock submit ocr -i image=@page.png --wait 30 -o lines.json
    echo "from a pipe" | penstock submit minilm -i text=@- --wait
    penstock submit --body '{"model": "minilm", "inputs": {"text": ["one", "two"]}}'
    """
    submission = merged(body, options)
    if output is not None and wait_s is None:
        wait_s = float("inf")
    with connect() as client:
        job = client.jobs.submit_one(submission, idempotency_key=idempotency_key)
        if wait_s is None:
            return queued(job, as_json=as_json)
        job = job if job.done else watch(client, job, wait_s)
        outputs = outputs_of(client, job)
    if output is not None and outputs is not None:
        save(outputs, output)
    if as_json:
        screen.show_json({**job.raw, "outputs": outputs})
    else:
        screen.show_job(job, None if output else outputs)
    end(job, waited=True)


def merged(body: dict[str, Any], options: dict[str, Any]) -> Any:
    """The submission: the options that were given, over the body."""
    for name in ("inputs", "parameters", "metadata"):
        options[name] = {**(body.get(name) or {}), **options[name]}
    if not options["inputs"] and "inputs" not in body:
        raise click.UsageError("nothing to run the model on: give -i NAME=VALUE (see --help)")
    submission = body | {name: value for name, value in options.items() if value not in (None, {})}
    if "model" not in submission:
        raise click.UsageError("name a MODEL, as argument or in --body; `penstock models list` shows them")
    return {"inputs": {}} | submission


def queued(job: Job, *, as_json: bool) -> None:
    if as_json:
        return screen.show_json(job.raw)
    click.echo(job.id)
    if screen.console(stderr=True).is_terminal:
        screen.note(f"`penstock get {job.id} --wait` shows what becomes of it")
    return None
