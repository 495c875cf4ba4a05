"""What every client command shares: which farm, and whether it answers in JSON."""

from dataclasses import dataclass
from itertools import islice

import click
from click.shell_completion import CompletionItem

from penstock.client import Penstock
from penstock.errors import PenstockError

#: At a prompt a farm that is away should be reported soon; scripts look at the exit code.
RETRY_FOR_S = 1.0
#: Jobs whose ids the shell completes.
LAST_JOBS = 50
JSON_WANTED = "penstock.json"


@dataclass(frozen=True, slots=True)
class Farm:
    """The root command's options."""

    url: str | None
    api_key: str | None


def connect() -> Penstock:
    """A client of the farm that the command line or the environment names."""
    farm = click.get_current_context().find_object(Farm) or Farm(None, None)
    try:
        return Penstock(farm.url, farm.api_key, retry_for_s=RETRY_FOR_S)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def remember_json(ctx: click.Context, _parameter: click.Parameter, value: bool) -> bool:
    # Errors are told by the root command, which does not see a subcommand's options.
    ctx.meta[JSON_WANTED] = value
    return value


def wants_json(ctx: click.Context) -> bool:
    return bool(ctx.meta.get(JSON_WANTED))


json_option = click.option("--json", "as_json", is_flag=True, callback=remember_json, help="Answer in JSON.")


def complete_models(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of models, for the shell; nothing where the farm does not answer at once."""
    given = ctx.find_root().params
    try:
        with Penstock(given.get("url"), given.get("api_key"), timeout_s=1.0, retry_for_s=0.0) as client:
            return [model.name for model in client.models.list() if model.name.startswith(incomplete)]
    except (PenstockError, ValueError):
        return []


def complete_jobs(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Ids of the last jobs, with what they are; nothing where the farm does not answer at once."""
    given = ctx.find_root().params
    try:
        with Penstock(given.get("url"), given.get("api_key"), timeout_s=1.0, retry_for_s=0.0) as client:
            jobs = islice(client.jobs.list(page_size=LAST_JOBS), LAST_JOBS)
            return [
                CompletionItem(job.id, help=f"{job.model} {job.status}")
                for job in jobs
                if job.id.startswith(incomplete)
            ]
    except (PenstockError, ValueError):
        return []
