"""`penstock orchestrator`: the Celery worker that relays what is due."""

import os
import socket

from settings import Settings
from storage.connection import connect
from storage.jobs import JobStore
from storage.objects import open_objects
from tasks.app import ORCHESTRATOR_QUEUE, make_app, run_worker
from tasks.publisher import Publisher
from tasks.relay import Reaper, Relay, RelayThread, relay_step


def run(settings: Settings) -> int:
    """Serve until SIGTERM; returns the exit status."""
    redis = connect(settings.store_url)
    publisher = Publisher(settings.queue_url, deadline_s=settings.submit_deadline_s, queues=lambda: ())
    jobs = JobStore(redis)
    relay = Relay(jobs, open_objects(settings.objects), publisher)
    reaper = Reaper(jobs, publisher, settings.queue_url)
    app = make_app(settings)
    app.steps["worker"].add(relay_step(RelayThread(relay, reaper, redis)))
    run_worker(app, name=f"orchestrator-{socket.gethostname()}-{os.getpid()}", queue=ORCHESTRATOR_QUEUE)
    publisher.close()
    return 0
