"""The Celery app: the engine of workers and orchestrator (`celery -A tasks.app`).

Jobs never are Celery tasks: a worker's bootstep consumes the lanes by itself. Celery gives the processes their
connection life, signals and remote control, and runs what orchestrates.
"""

import os
import warnings
from collections.abc import Sequence
from typing import Any

from celery import Celery
from celery.signals import setup_logging
from kombu import Queue

from settings import Settings
from tasks.strangers import CONSUMER

#: Celery's own queues. Nothing that matters lies in them, but a process without them ends: quorum queues, since a
#: classic one is gone with its node, and the workers of a whole cluster with it.
WORKER_QUEUE = "penstock.tasks.worker"
ORCHESTRATOR_QUEUE = "penstock.tasks.orchestrator"
WEBHOOK_QUEUE = "penstock.tasks.webhooks"
SCORING_QUEUE = "penstock.tasks.scoring"
#: What Celery binds its queues to. Nothing is published there: a task goes to its queue by the exchange without a name.
CELERY_EXCHANGE = "penstock.celery"
#: Embedded: seconds after which a message of a worker that died is delivered again. A worker that lives keeps its
#: messages by renewing them (workers/lane.py), so this need not exceed the longest job.
VISIBILITY_TIMEOUT_S = 10

#: A connection that carries nothing any more, as behind a firewall that restarted, is given up after two of these, by
#: the broker too: until then the messages it holds are nobody's work. (Measured with 30: a minute and more.)
HEARTBEAT_S = 10


def transport_options(settings: Settings) -> dict[str, Any]:
    """Options of the connection that consumes."""
    if not settings.embedded:
        return {}
    return {
        "visibility_timeout": VISIBILITY_TIMEOUT_S,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
        "unacked_restore_limit": 1000,
        # Ours are three queues, not one with priorities: one list a queue.
        "priority_steps": [0],
    }


@setup_logging.connect  # type: ignore[untyped-decorator]
def keep_our_logging(**_: Any) -> None:
    """A receiver is all it takes for Celery to leave logging as logs.py has set it up."""


def run_worker(app: Celery, *, name: str, queues: Sequence[str], threads: int = 0) -> None:
    """Run Celery's worker for one of our processes until a signal ends it; `threads`: tasks at once, 0 for none."""
    pool = ["--pool", "threads", "--concurrency", str(threads)] if threads else ["--pool", "solo"]
    # Nothing but JSON is accepted, so that running as root, as in a container, is no more than running as root.
    warnings.filterwarnings("ignore", message="You're running the worker with superuser privileges")
    app.worker_main(
        [
            "--quiet", "worker", "--hostname", name, *pool, "--queues", ",".join(queues), "--loglevel", "warning",
            "--without-gossip", "--without-mingle", "--without-heartbeat",
        ]
    )  # fmt: skip


def make_app(settings: Settings) -> Celery:
    app = Celery("penstock")
    app.conf.update(
        broker_url=settings.queue_url,
        broker_transport_options=transport_options(settings),
        broker_connection_retry=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_heartbeat=HEARTBEAT_S,
        task_queues=[
            Queue(name, routing_key=name, durable=True, queue_arguments={"x-queue-type": "quorum"})
            for name in (WORKER_QUEUE, ORCHESTRATOR_QUEUE, WEBHOOK_QUEUE, SCORING_QUEUE)
        ],
        task_default_exchange=CELERY_EXCHANGE,
        task_default_queue=ORCHESTRATOR_QUEUE,
        task_create_missing_queues=False,
        accept_content=["json"],
        task_serializer="json",
        # Nothing here uses it, and whoever can write to the broker could shut workers down by it.
        worker_enable_remote_control=False,
        result_backend=None,
        task_ignore_result=True,
        worker_send_task_events=False,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_consumer=CONSUMER,
        worker_cancel_long_running_tasks_on_connection_loss=False,
    )
    return app


#: Reads the environment at import, since `celery -A tasks.app` has no other way in.
app = make_app(Settings.from_env(os.environ))
