"""The operator's commands, merged into `penstock` where it runs in a checkout or an image. Imports wait for use."""

import json
import os
import sys
from collections.abc import Callable
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn

import click
import msgspec

from errors import PenstockError
from logs import configure
from settings import Settings


def fail(error: PenstockError) -> NoReturn:
    click.echo(f"penstock: {error.detail}", err=True)
    for fault in error.faults:
        click.echo(f"  {fault.pointer}: {fault.detail}", err=True)
    sys.exit(2)


def with_settings(process: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Hands a command the settings in force; what an operator did wrong ends it with one sentence and status 2."""

    def wrap(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def run(*args: Any, **kwargs: Any) -> Any:
            try:
                settings = Settings.from_env(os.environ)
                configure(settings, process)
                return command(settings, *args, **kwargs)
            except PenstockError as error:
                fail(error)

        return run

    return wrap


as_json = click.option("--json", "json_", is_flag=True, help="Print JSON.")


@click.group()
def operator() -> None:
    """Run and look after a farm (in a checkout or an image)."""


@operator.command()
@click.option("--pool", "pools", multiple=True, default=("cpu",), show_default=True, help="Worker pools to run.")
@with_settings("up")
def up(settings: Settings, pools: tuple[str, ...]) -> None:
    """Run a whole farm on this machine, in the foreground, until Ctrl-C."""
    import farm

    click.echo(
        f"Penstock at http://{settings.host}:{settings.port}  (Ctrl-C ends it; data in {settings.data})", err=True
    )
    sys.exit(farm.up(settings, pools=list(pools)))


@operator.command()
@with_settings("gateway")
def gateway(settings: Settings) -> None:
    """Run the HTTP gateway."""
    from gateway.serve import serve

    serve(settings)


@operator.command()
@click.option("--pool", required=True, type=click.Choice(["cpu", "gpu"]), help="Which models, on which devices.")
@click.option("--models", default="", help="Only these, comma-separated.")
@with_settings("worker")
def worker(settings: Settings, pool: str, models: str) -> None:
    """Run a worker: it loads the pool's models, then takes their jobs."""
    from workers.serve import run

    sys.exit(run(settings, pool=pool, models=[name.strip() for name in models.split(",") if name.strip()]))


@operator.command()
@with_settings("orchestrator")
def orchestrator(settings: Settings) -> None:
    """Run the orchestrator: retries, expiries and whatever else is due."""
    from tasks.serve import run

    sys.exit(run(settings))


@operator.command()
@click.option("--acl", is_flag=True, help="Declare nothing: print what each process may do at RabbitMQ and Redis.")
@as_json
@with_settings("topology")
def topology(settings: Settings, acl: bool, json_: bool) -> None:
    """Declare the broker's exchanges and queues for every model of the repository."""
    if acl:
        from tasks import permissions

        click.echo(json.dumps(permissions.as_data(), indent=2) if json_ else permissions.as_text())
        return
    from kombu import Connection

    from errors import BrokerUnavailable
    from models.catalog import Catalog
    from tasks.message import LANES, queue_name
    from tasks.topology import declare, declare_replies

    entries = Catalog.load(settings.models).entries()
    queues = [
        queue_name(pool, entry.manifest.name, entry.version, lane)
        for entry in entries
        for pool in entry.manifest.pools
        for lane in LANES
    ]
    connection = Connection(settings.queue_url, connect_timeout=3)
    try:
        declare_replies(connection)
        names = declare(connection, queues)
    except (OSError, *connection.connection_errors) as error:
        raise BrokerUnavailable(f"no connection to the broker: {error}") from error
    finally:
        connection.release()
    click.echo(json.dumps(names) if json_ else "\n".join(names))


@operator.group()
def key() -> None:
    """API keys: make, rotate, list and revoke them."""


def access(settings: Settings) -> Any:
    from storage.access import Access
    from storage.connection import connect

    return Access(connect(settings.store_url))


#: Seconds of each unit of a duration.
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def duration(_ctx: click.Context, parameter: click.Parameter, text: str) -> float:
    """`90d`, `12h`, `30m` or `45s` as seconds, nothing as 0; raises BadParameter."""
    number, unit = text[:-1], text[-1:]
    if text and (unit not in UNITS or not number.isdecimal() or not 0 < int(number[:9]) < 10**6):
        raise click.BadParameter(f"{text!r} must be a number with a unit, e.g. 90d, 12h, 30m or 45s")
    return float(int(number) * UNITS[unit]) if text else 0.0


@key.command("create")
@click.option("--tenant", required=True, help="Whose jobs the key sees.")
@click.option("--name", default="", help="What it is for.")
@click.option(
    "--scope", "scopes", multiple=True, type=click.Choice(["submit", "read", "admin"]),
    help="What it may do; may be given several times.  [default: submit and read]",
)  # fmt: skip
@click.option("--admin", is_flag=True, help="The same as --scope submit --scope read --scope admin.")
@click.option("--expires-in", "expires_s", callback=duration, default="", help="E.g. 90d or 12h.  [default: never]")
@as_json
@with_settings("key")
def key_create(
    settings: Settings, tenant: str, name: str, scopes: tuple[str, ...], admin: bool, expires_s: float, json_: bool
) -> None:
    """Make an API key; it is shown once and kept only as a digest."""
    wanted = {*scopes, *(("submit", "read", "admin") if admin else ())} or {"submit", "read"}
    show_new(*access(settings).issue(tenant, name, scopes=wanted, expires_s=expires_s), json_=json_)


def show_new(secret: str, grant: Any, *, json_: bool) -> None:
    """A key that was made; the only time it is shown."""
    if json_:
        click.echo(json.dumps({**shown_grant(grant), "key": secret}))
        return
    click.echo(secret)
    click.echo("Keep it: it cannot be shown again. Send it as `Authorization: Bearer <key>`.", err=True)


def shown_grant(grant: Any) -> dict[str, Any]:
    return {**msgspec.to_builtins(grant), "admin": "admin" in grant.scopes}


@key.command("rotate")
@click.argument("id")
@click.option("--overlap", "overlap_s", callback=duration, default="24h", show_default=True, help="Both work so long.")
@as_json
@with_settings("key")
def key_rotate(settings: Settings, id: str, overlap_s: float, json_: bool) -> None:
    """Make a successor of a key by its id; the old one works until the overlap is over."""
    show_new(*access(settings).rotate(id, overlap_s=overlap_s), json_=json_)


@key.command("list")
@as_json
@with_settings("key")
def key_list(settings: Settings, json_: bool) -> None:
    """List the keys: whose they are and what they may do, never what they are."""
    known = access(settings)
    grants, used = known.list(), known.last_used()
    if json_:
        click.echo(json.dumps([{**shown_grant(grant), "last_used_ms": used.get(grant.id, 0)} for grant in grants]))
        return
    for grant in grants:
        scopes = ",".join(grant.scopes)
        click.echo(
            f"{grant.id}  {grant.tenant:<20} {scopes:<17}  made {minute(grant.created_ms)}  expires "
            f"{minute(grant.expires_ms):<16}  used {minute(used.get(grant.id, 0)):<16}  {grant.name}"
        )


def minute(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000).strftime("%Y-%m-%d %H:%M") if ms else "never"


@key.command("revoke")
@click.argument("id")
@with_settings("key")
def key_revoke(settings: Settings, id: str) -> None:
    """Revoke a key by its id (`penstock key list`); gateways forget it within seconds."""
    access(settings).revoke(id)
    click.echo(f"revoked {id}")


@operator.group()
def tenant() -> None:
    """Quotas of tenants: set and list them."""


def quotas(settings: Settings) -> Any:
    from storage.connection import connect
    from storage.quotas import Quotas

    return Quotas(connect(settings.store_url))


@tenant.command("set")
@click.argument("name")
@click.option("--max-in-flight", type=click.IntRange(min=0), help="Jobs queued or running.")
@click.option("--requests-per-s", type=click.FloatRange(min=0), help="Requests with its keys.")
@click.option("--bytes-per-s", type=click.FloatRange(min=0), help="Of its requests' bodies.")
@as_json
@with_settings("tenant")
def tenant_set(settings: Settings, name: str, json_: bool, **limits: float | None) -> None:
    """Limit what a tenant may use; 0 lifts a limit, and what is not said stays. Gateways know within seconds."""
    known = quotas(settings)
    given = {limit: value for limit, value in limits.items() if value is not None}
    quota = msgspec.structs.replace(known.get(name), **given)
    known.set(name, quota)
    click.echo(json.dumps(shown_quota(name, quota)) if json_ else quota_line(name, quota))


@tenant.command("list")
@as_json
@with_settings("tenant")
def tenant_list(settings: Settings, json_: bool) -> None:
    """List the tenants that have a quota, and what they have in flight."""
    from storage.connection import connect
    from storage.jobs import JobStore

    jobs = JobStore(connect(settings.store_url))
    found = sorted(quotas(settings).all().items())
    if json_:
        click.echo(json.dumps([{**shown_quota(*one), "in_flight": jobs.in_flight(one[0])} for one in found]))
        return
    for name, quota in found:
        click.echo(f"{quota_line(name, quota)}, {jobs.in_flight(name)} in flight")


def shown_quota(name: str, quota: Any) -> dict[str, Any]:
    """A limit that is none is null."""
    limits = {limit: getattr(quota, limit) or None for limit in ("max_in_flight", "requests_per_s", "bytes_per_s")}
    return {"tenant": name, **limits}


def quota_line(name: str, quota: Any) -> str:
    told = [
        f"{limit.replace('_', ' ')} {value:g}"
        for limit, value in shown_quota(name, quota).items()
        if limit != "tenant" and value
    ]
    return f"{name}: {', '.join(told) or 'no limits'}"


@operator.command()
@click.option("--stuck", is_flag=True, required=True, help="Those that are queued by their record and in no queue.")
@click.option("--dry-run", is_flag=True, help="Only count them.")
@as_json
@with_settings("requeue")
def requeue(settings: Settings, stuck: bool, dry_run: bool, json_: bool) -> None:
    """Publish anew the jobs that are queued and in no queue.

    That is by their record; and those that ran on a worker that is gone. The orchestrator does the same by and by. A
    job whose message was there after all still runs once.
    """
    from tasks.stuck import requeue as run

    done = run(settings, dry_run=dry_run)
    if json_:
        click.echo(json.dumps(msgspec.to_builtins(done)))
        return
    for queue, count in done.queues.items():
        click.echo(f"{queue:<50} {count}")
    if done.orphans:
        click.echo(f"{'ran on workers that are gone':<50} {done.orphans}")
    word = "would be published" if dry_run else "published"
    click.echo(f"{sum(done.queues.values()) + done.orphans} {word}", err=True)


@operator.command()
@as_json
@with_settings("config")
def config(settings: Settings, json_: bool) -> None:
    """Print the settings in force, secrets masked."""
    shown = settings.shown()
    if json_:
        click.echo(json.dumps(shown, indent=2))
        return
    defaults = Settings().shown()
    for name, value in shown.items():
        mark = " " if value == defaults[name] else "*"
        click.echo(f"{mark} {name:<28} {value}")
    click.echo("* differs from the default", err=True)


@operator.group()
def models() -> None:
    """The model repository."""


@models.command("check")
@click.argument("repository", required=False, type=click.Path(path_type=Path))
@as_json
@with_settings("models")
def models_check(settings: Settings, repository: Path | None, json_: bool) -> None:
    """Read every manifest of a repository; exit 1 when one is broken."""
    from models.catalog import Catalog

    catalog = Catalog.load(repository or settings.models)
    if json_:
        click.echo(
            json.dumps(
                {
                    "models": [
                        {"name": e.manifest.name, "version": e.version, "runtime": e.manifest.runtime}
                        for e in catalog.entries()
                    ],
                    "broken": [{"name": b.name, "path": str(b.path), "reason": b.reason} for b in catalog.broken],
                }
            )
        )
    else:
        for entry in catalog.entries():
            click.echo(f"ok      {entry.manifest.name:<20} {entry.version:<6} {entry.manifest.runtime}")
        for broken in catalog.broken:
            click.echo(f"broken  {broken.name:<20} {broken.reason}")
    sys.exit(1 if catalog.broken else 0)


@models.command("pack")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="[default: NAME-VERSION.zip]")
@click.option("--version", help="Which version.  [default: the newest]")
@as_json
@with_settings("models")
def models_pack(settings: Settings, folder: Path, output: Path | None, version: str | None, json_: bool) -> None:
    """Write a version of a model's FOLDER as one file, the same bytes each time."""
    import packages

    done = packages.pack(folder, output, version)
    if json_:
        click.echo(json.dumps(msgspec.to_builtins(done)))
        return
    click.echo(f"{done.path}: {done.model} version {done.version}, {done.files} files, {done.bytes:,} bytes")
    click.echo(done.digest)
    if done.needs:
        click.echo(f"a pipeline; pack the models of its steps as well: {', '.join(done.needs)}", err=True)


@models.command("add")
@click.argument("package")
@click.option("--version", help="Which version of a folder.  [default: the newest]")
@as_json
@with_settings("models")
def models_add(settings: Settings, package: str, version: str | None, json_: bool) -> None:
    """Put a model into the repository: a zip, a folder, https:// or s3://."""
    import packages

    done = packages.add(settings, package, version, os.environ)
    if json_:
        click.echo(json.dumps(msgspec.to_builtins(done)))
        return
    words = "is there already, the very same" if done.status == "present" else f"added, {done.bytes:,} bytes"
    click.echo(f"{done.model} version {done.version} {words}: {done.path}")
    click.echo(done.digest)
    if done.needs:
        click.echo(
            f"a pipeline; it is served once the models of its steps are there: {', '.join(done.needs)}", err=True
        )


def port(text: str) -> Any:
    from models.describing import Port

    name, _, rest = text.partition(":")
    datatype, _, shape = rest.partition(":")
    try:
        return Port(name, datatype.upper(), tuple(int(size) for size in shape.split(",") if size))
    except ValueError as error:
        raise click.BadParameter(f"{text!r} must be NAME:DATATYPE:SHAPE, e.g. image:FP32:-1,3,224,224") from error


@models.command("init")
@click.argument("name")
@click.option(
    "--from", "file", required=True, type=click.Path(path_type=Path), help="model.onnx, .pt2, .xml, .tflite, SavedModel"
)
@click.option("--runtime", type=click.Choice(["onnx", "openvino", "torch"]), help="[default: by the file's ending]")
@click.option("--torchscript", is_flag=True, help="The file is TorchScript; say its inputs with --input.")
@click.option("--input", "inputs", multiple=True, help="An input of TorchScript: NAME:DATATYPE:SHAPE.")
@as_json
@with_settings("models")
def models_init(
    settings: Settings,
    name: str,
    file: Path,
    runtime: str | None,
    torchscript: bool,
    inputs: tuple[str, ...],
    json_: bool,
) -> None:
    """Make a model from a bare file: model.onnx, .pt2, .xml, .tflite."""
    from workers.adopting import adopt

    told = [port(text) for text in inputs]
    done = adopt(name, file, settings.models, runtime=runtime or "", torchscript=torchscript, told=told)
    if json_:
        click.echo(json.dumps(msgspec.to_builtins(done)))
        return
    click.echo(f"{done.path}: {done.model} version {done.version}, runtime {done.runtime}")
    for side, ports in (("input", done.inputs), ("output", done.outputs)):
        for one in ports:
            click.echo(f"  {side:<7} {one.name:<20} {one.datatype:<6} {list(one.shape)}")
    click.echo(f"  loaded in {done.load_ms:g} ms; its example ran in {done.example_ms:g} ms")
    for remark in done.remarks:
        click.echo(f"  {remark}")
    click.echo(f"Now name and describe its inputs and outputs for its users in {Path(done.path) / 'model.yaml'},")
    click.echo("add a handler.py where jobs hold texts or pictures and the model takes numbers (docs/models.md), then:")
    click.echo(f"  penstock models check {settings.models}")


def counts(_ctx: click.Context, parameter: click.Parameter, text: str) -> list[int]:
    """`1,2,4` as numbers; raises BadParameter."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not all(word.isdecimal() and 0 < int(word) <= 65536 for word in words):
        raise click.BadParameter(f"{text!r} must be positive numbers with commas between them, e.g. 1,2,4")
    return list(dict.fromkeys(map(int, words)))


@operator.command("tune")
@click.argument("model")
@click.option("--version", help="[default: the newest]")
@click.option("--batch", "batches", default="1,2,4,8,16,32", show_default=True, callback=counts, help="Rows at once.")
@click.option("--instances", default="", callback=counts, help="Executors.  [default: what the cores allow]")
@click.option("--threads", default="", callback=counts, help="Threads of one.  [default: what the cores allow]")
@click.option("--runtime", "runtimes", default="", help="Runtimes to compare, e.g. onnx,openvino.")
@click.option("--seconds", default=2.0, show_default=True, type=click.FloatRange(min=0.01), help="For each point.")
@click.option("--target-ms", type=click.FloatRange(min=0, min_open=True), help="Best within this p99 of a batch.")
@click.option("--device", default="", help="[default: cpu, or cuda:0 for a model of GPU pools alone]")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="[default: MODEL-tune.png]")
@click.option("--no-plot", is_flag=True, help="Draw no picture.")
@click.option("--write", is_flag=True, help="Put the best into the manifest.")
@as_json
@with_settings("tune")
def tune(
    settings: Settings,
    model: str,
    version: str | None,
    runtimes: str,
    plot: Path | None,
    no_plot: bool,
    write: bool,
    json_: bool,
    **how: Any,
) -> None:
    """Measure a model on this machine; find its best batch, instances and threads."""
    from models.catalog import Catalog
    from workers.tuning import command
    from workers.tuning.run import plan

    entry = Catalog.load(settings.models).get(model, version)
    planned = plan(entry, runtimes=[word.strip() for word in runtimes.split(",") if word.strip()], **how)
    picture = None if no_plot else plot or Path(f"{entry.manifest.name}-tune.png")
    done = command.tune(entry, planned, picture=picture, save=write)
    if json_:
        click.echo(json.dumps(msgspec.to_builtins(done)))
    else:
        command.show(done)
    sys.exit(130 if done.interrupted else 0 if done.best else 1)


if __name__ == "__main__":
    operator()
