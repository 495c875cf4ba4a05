"""`penstock webhook`: where the farm reports jobs to, and what became of it."""

from collections.abc import Callable, Sequence

import click
from rich.text import Text

from penstock.cli import screen
from penstock.cli.lazy import Entry, LazyGroup
from penstock.cli.session import connect, json_option
from penstock.client import Penstock
from penstock.webhooks import Delivery, WebhookEndpoint

CLIENT = {
    "list": Entry("penstock.cli.webhooks:show_all", "List the endpoints."),
    "add": Entry("penstock.cli.webhooks:add", "Report every job to a URL."),
    "rotate": Entry("penstock.cli.webhooks:rotate", "Give an endpoint a new secret."),
    "disable": Entry("penstock.cli.webhooks:disable", "Report nothing to an endpoint until it is enabled."),
    "enable": Entry("penstock.cli.webhooks:enable", "Report to an endpoint again."),
    "remove": Entry("penstock.cli.webhooks:remove", "Forget an endpoint."),
    "test": Entry("penstock.cli.webhooks:test", "Send a ping to an endpoint."),
    "deliveries": Entry("penstock.cli.webhooks:deliveries", "What became of the webhooks of a job or scoring."),
    "redeliver": Entry("penstock.cli.webhooks:redeliver", "Send the webhooks of a job or scoring again."),
}
COLOURS = {"delivered": "green", "pending": "yellow", "exhausted": "red", "disabled": "red"}
EVENTS = ("job.started", "job.completed", "scoring.progress", "scoring.completed")

id_argument = click.argument("id", metavar="ENDPOINT")


@click.group(cls=LazyGroup, sections={"Commands": CLIENT}, short_help="Where the farm reports jobs to.")
def webhook() -> None:
    """Where the farm reports jobs to, and what became of it."""


@click.command(short_help="List the endpoints.")
@json_option
def show_all(as_json: bool) -> None:
    """List the endpoints."""
    with connect() as client:
        found = client.webhooks.list()
    if as_json:
        return screen.show_json([one.raw for one in found])
    if not found:
        return screen.note("no endpoints; make one with: penstock webhook add URL")
    rows = [(one.id, state(one), " ".join(one.events), one.url or "", one.description) for one in found]
    return screen.show_table(("ID", "STATE", "EVENTS", "URL", "DESCRIPTION"), rows)


@click.command(short_help="Report every job to a URL.")
@click.argument("url")
@click.option(
    "--event", "events", multiple=True, type=click.Choice(EVENTS), help="Repeatable.  [default: job.completed]"
)
@click.option("--description", default="", help="What it is for.")
@json_option
def add(url: str, events: tuple[str, ...], description: str, as_json: bool) -> None:
    """Report every job of this tenant to URL. Prints the secret that signs the reports, this once."""
    with connect() as client:
        made = client.webhooks.create(url, events=events or ("job.completed",), description=description)
    tell_secret(made, as_json=as_json)


@click.command(short_help="Give an endpoint a new secret.")
@click.argument("id", metavar="ENDPOINT", default="default")
@click.option("--overlap", "overlap_s", type=click.FloatRange(min=0), help="Seconds.  [default: 86400]")
@json_option
def rotate(id: str, overlap_s: float | None, as_json: bool) -> None:
    """Give ENDPOINT a new secret, and print it, this once; the one before signs as well until the overlap is over.

    Without ENDPOINT: the tenant's own secret, which signs what goes to the URLs that jobs name.
    """
    with connect() as client:
        done = client.webhooks.rotate(id, overlap_s=overlap_s)
    tell_secret(done, as_json=as_json)


@click.command(short_help="Report nothing to an endpoint until it is enabled.")
@id_argument
@json_option
def disable(id: str, as_json: bool) -> None:
    """Report nothing to ENDPOINT until it is enabled; what is on its way is not sent any more."""
    change(lambda client: client.webhooks.disable(id), as_json=as_json)


@click.command(short_help="Report to an endpoint again.")
@id_argument
@json_option
def enable(id: str, as_json: bool) -> None:
    """Report to ENDPOINT again."""
    change(lambda client: client.webhooks.enable(id), as_json=as_json)


@click.command(short_help="Forget an endpoint.")
@id_argument
@json_option
def remove(id: str, as_json: bool) -> None:
    """Forget ENDPOINT and its secrets."""
    with connect() as client:
        client.webhooks.delete(id)
    if as_json:
        screen.show_json({"id": id, "removed": True})
    else:
        click.echo(f"removed {id}")


@click.command(short_help="Send a ping to an endpoint.")
@id_argument
@json_option
def test(id: str, as_json: bool) -> None:
    """Send a ping to ENDPOINT: penstock webhook deliveries ENDPOINT tells what came of it."""
    with connect() as client:
        client.webhooks.test(id)
        found = client.webhooks.deliveries(id)
    tell(found, as_json=as_json)


@click.command(short_help="What became of the webhooks of a job or scoring.")
@click.argument("id", metavar="JOB|SCORING|ENDPOINT")
@json_option
def deliveries(id: str, as_json: bool) -> None:
    """What became of the webhooks of a job or scoring; of an endpoint: what is on its way there, and pings."""
    with connect() as client:
        found = client.webhooks.deliveries(id)
    tell(found, as_json=as_json)


@click.command(short_help="Send the webhooks of a job or scoring again.")
@click.argument("job_id", metavar="JOB|SCORING")
@click.argument("delivery", required=False)
@json_option
def redeliver(job_id: str, delivery: str | None, as_json: bool) -> None:
    """Send the webhooks of a job or scoring again that are not on their way, or only DELIVERY, under their ids."""
    with connect() as client:
        found = client.webhooks.redeliver(job_id, delivery)
    tell(found, as_json=as_json)


def change(step: Callable[[Penstock], WebhookEndpoint], *, as_json: bool) -> None:
    with connect() as client:
        endpoint = step(client)
    if as_json:
        screen.show_json(endpoint.raw)
    else:
        screen.show_fields([("id", endpoint.id), ("state", state(endpoint)), ("url", endpoint.url or "")])


def tell_secret(endpoint: WebhookEndpoint, *, as_json: bool) -> None:
    if as_json:
        return screen.show_json(endpoint.raw)
    click.echo(f"{endpoint.id}  {endpoint.secret}")
    return screen.note("Keep the secret: it cannot be shown again. It verifies what is sent here.")


def state(endpoint: WebhookEndpoint) -> Text:
    if not endpoint.enabled:
        return Text(f"disabled: {endpoint.disabled_reason}", style="red")
    if endpoint.failing_since:
        return Text(f"failing since {endpoint.failing_since.astimezone():%Y-%m-%d %H:%M}", style="yellow")
    return Text("enabled", style="green")


def tell(found: Sequence[Delivery], *, as_json: bool) -> None:
    if as_json:
        return screen.show_json([one.raw for one in found])
    if not found:
        return screen.note("no deliveries")
    return screen.show_table(("ID", "EVENT", "STATUS", "SENT", "LAST ANSWER", "NEXT"), [row(one) for one in found])


def row(one: Delivery) -> tuple[str | Text, ...]:
    last = one.attempts[-1] if one.attempts else None
    heard = f"{last.status} in {last.latency_ms:g} ms" if last and last.status else (last and last.error) or ""
    following = f"{one.next_attempt_at.astimezone():%Y-%m-%d %H:%M:%S}" if one.next_attempt_at else ""
    return one.id, one.event, Text(one.status, style=COLOURS.get(one.status, "")), str(one.sendings), heard, following
