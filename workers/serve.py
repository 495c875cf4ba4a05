"""`penstock worker`: a Celery worker whose bootstep consumes the lanes of one pool's models."""

import logging
import os
import resource
from collections.abc import Sequence

from errors import OperatorError
from models.catalog import Catalog
from models.repository import Repository
from settings import Settings
from storage.connection import connect
from storage.deployments import Deployments
from storage.jobs import JobStore
from storage.refused import Refused
from storage.workers import Workers
from tasks.app import WORKER_QUEUE, make_app, run_worker
from tasks.embedded import work_url
from tasks.intake import TRANSPORT
from tasks.signing import signing
from tasks.strangers import note_refused
from workers.deploying import Deployer
from workers.devices import devices, require_gpus
from workers.pool import Pool
from workers.refusing import Refusals
from workers.replying import Replies
from workers.step import Lanes, lanes_step

log = logging.getLogger(__name__)

#: Open files a worker asks for.
MOST_OPEN_FILES = 65_536


def check(catalog: Catalog, *, pool: str, models: Sequence[str]) -> None:
    """Raises UnknownModel for a name that is none, and OperatorError when there is nothing to serve."""
    for name in models:
        catalog.get(name)
    if not any(
        pool in entry.manifest.pools and (not models or name in models)
        for name, entries in catalog.models.items()
        for entry in entries
    ):
        raise OperatorError(f"no model of the repository runs in pool {pool!r}: `penstock models check` lists them")


def allow_open_files() -> None:
    """Lift the soft limit: each tensor in shared memory that passes through here is an open file meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_OPEN_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def run(settings: Settings, *, pool: str, models: Sequence[str]) -> int:
    """Serve until SIGTERM; returns the exit status."""
    allow_open_files()
    # Before anything is loaded: a pool of GPUs without one can serve nothing.
    gpus = require_gpus(os.environ) if pool == "gpu" else 0
    repository = Repository(settings.models)
    check(repository.catalog, pool=pool, models=models)
    redis = connect(settings.store_url)
    jobs, workers = JobStore(redis), Workers(redis)
    served = Pool(
        pool=pool,
        devices=lambda entry: (
            devices(pool, entry.manifest.instances, gpus) if entry.manifest.kind == "model" else ["cpu:0"]
        ),
        repository=settings.models.resolve(),
        objects_url=settings.objects,
        cache=str(settings.data.resolve() / "cache"),
        jobs=jobs,
        workers=workers,
        # On the embedded store a queue that nobody reads would grow for ever.
        replies=None if settings.embedded else Replies(settings.queue_url, jobs),
    )
    deployer = Deployer(served, repository, models=models, deployments=Deployments(redis), jobs=jobs, workers=workers)
    app = make_app(settings)
    note_refused(Refused(redis))
    if settings.embedded:
        app.conf.broker_url = work_url(settings.queue_url)
    elif settings.queue_url.startswith("amqp://"):
        app.conf.broker_transport = TRANSPORT
    app.steps["consumer"].add(lanes_step(Lanes(served, Refusals(jobs, Refused(redis)), signing(settings))))
    deployer.start()
    run_worker(app, name=served.name, queues=[WORKER_QUEUE])
    return 0
