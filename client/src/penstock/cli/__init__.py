"""The `penstock` command: the client's commands, and the operator's where a checkout is at hand.

Commands are named here and imported at their use: `penstock worker` never waits for what draws tables.
"""

import click

from penstock.cli.checkout import server_error
from penstock.cli.exits import EXIT_CODES, INTERRUPTED, exit_code, line
from penstock.cli.lazy import Entry, LazyGroup
from penstock.cli.session import Farm, wants_json
from penstock.errors import PenstockError
from penstock.version import __version__

CLIENT = {
    "submit": Entry("penstock.cli.submit:submit", "Submit a job to a model."),
    "get": Entry("penstock.cli.get:get", "Show a job, or its result."),
    "events": Entry("penstock.cli.events:events", "A job's life, as it happens."),
    "jobs": Entry("penstock.cli.jobs:jobs", "List jobs, newest first."),
    "cancel": Entry("penstock.cli.jobs:cancel", "Cancel jobs."),
    "retry": Entry("penstock.cli.jobs:retry", "Run a failed, canceled or expired job again."),
    "score": Entry("penstock.cli.score:score", "Run a table's rows through a model."),
    "scorings": Entry("penstock.cli.scorings:scorings", "Tables that are scored, and what came of them."),
    "models": Entry("penstock.cli.models:models", "The models of the farm."),
    "webhook": Entry("penstock.cli.webhooks:webhook", "Where the farm reports jobs to."),
    "queues": Entry("penstock.cli.queues:queues", "What waits, model by model."),
    "top": Entry("penstock.cli.top:top", "What the farm does, as it does it."),
    "dead-letters": Entry("penstock.cli.dead_letters:dead_letters", "Jobs that failed, and their way back."),
    "upload": Entry("penstock.cli.upload:upload", "Store files that jobs can refer to."),
    "completion": Entry("penstock.cli.completion:completion", "Print the completion script for a shell."),
}
OPERATOR = {
    "up": Entry("checkout:up", "Run a whole farm on this machine, in the foreground, until Ctrl-C."),
    "gateway": Entry("checkout:gateway", "Run the HTTP gateway."),
    "worker": Entry("checkout:worker", "Run a worker: it loads the pool's models, then takes their jobs."),
    "orchestrator": Entry("checkout:orchestrator", "Run the orchestrator: retries, expiries and whatever else is due."),
    "topology": Entry(
        "checkout:topology", "Declare the broker's exchanges and queues for every model of the repository."
    ),
    "key": Entry("checkout:key", "API keys: make, rotate, list and revoke them."),
    "tenant": Entry("checkout:tenant", "Quotas of tenants: set and list them."),
    "requeue": Entry("checkout:requeue", "Publish anew the jobs that are queued and in no queue."),
    "tune": Entry("checkout:tune", "Measure a model on this machine; find its best batch, instances and threads."),
    "config": Entry("checkout:config", "Print the settings in force, secrets masked."),
}


class Root(LazyGroup):
    """Turns what a command raises into one line on stderr and an exit code."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except PenstockError as error:
            click.echo(line(error, url=ctx.obj.url or "", as_json=wants_json(ctx)), err=True)
            ctx.exit(exit_code(error))
        except server_error() as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(exit_code(error))
        except KeyboardInterrupt:
            click.echo(err=True)
            ctx.exit(INTERRUPTED)


@click.group(
    cls=Root,
    sections={"Commands": CLIENT, "Operator commands (in a checkout)": OPERATOR},
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option("--url", envvar="PENSTOCK_URL", show_envvar=True, help="The farm.  [default: http://127.0.0.1:8080]")
@click.option("--api-key", envvar="PENSTOCK_API_KEY", show_envvar=True, help="Who asks.")
@click.version_option(__version__, prog_name="penstock", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context, url: str | None, api_key: str | None) -> None:
    """Submit jobs to a Penstock inference farm, and run one.

    \b
    penstock submit minilm -i text="a sentence" --wait
    penstock submit ocr -i image=@page.png
    penstock get job_01J… --wait --result
    penstock score minilm sentences.csv -o vectors.parquet
    """
    ctx.obj = Farm(url, api_key)


def main() -> None:
    cli(prog_name="penstock")
