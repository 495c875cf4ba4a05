"""`penstock orchestrator`: the Celery worker that relays what is due, sends webhooks, and drives scorings."""

import os
import socket
from functools import partial
from typing import Any

from celery import Celery
from celery.signals import worker_shutting_down

from settings import Settings
from storage.connection import Client, connect
from storage.deadletters import DeadLetters
from storage.deliveries import Deliveries
from storage.jobs import JobStore
from storage.objects import open_objects
from storage.pins import Pins
from storage.quotas import Quotas
from storage.refused import Refused
from storage.scorings import Scorings
from storage.webhooks import Endpoints
from storage.workers import Workers
from tasks.app import ORCHESTRATOR_QUEUE, SCORING_QUEUE, WEBHOOK_QUEUE, make_app, run_worker
from tasks.draining import Drain, Undertaker
from tasks.publisher import Publisher
from tasks.reaper import Reaper
from tasks.relay import Relay, RelayThread
from tasks.replaying import Replayer
from tasks.scoring import dispatching as scoring_tasks
from tasks.scoring.afterlife import Afterlife
from tasks.scoring.dispatching import MOST, Seats
from tasks.scoring.parts import Parts
from tasks.signing import signing
from tasks.strangers import note_refused
from tasks.ticking import Ticking, ticking_step
from tasks.webhooks.addresses import Policy
from tasks.webhooks.delivering import Deliverer
from tasks.webhooks.dispatching import Dispatcher, register
from tasks.webhooks.expanding import Expander, base_of
from tasks.webhooks.sending import post

#: Webhooks that one orchestrator sends at once. Each waits for its receiver, for 15 seconds at most.
THREADS = 64


def run(settings: Settings) -> int:
    """Serve until SIGTERM; returns the exit status."""
    redis = connect(settings.store_url)
    publisher = Publisher(settings.queue_url, deadline_s=settings.submit_deadline_s, queues=lambda: ())
    jobs = JobStore(redis)
    objects, scorings = open_objects(settings.objects), Scorings(redis)
    relay = Relay(
        jobs,
        objects,
        publisher,
        Deliveries(redis),
        Replayer(DeadLetters(redis, jobs), jobs, Quotas(redis)),
        Afterlife(scorings, jobs, objects),
        pins=Pins(redis, scorings.get),
        max_object_bytes=settings.max_object_bytes,
    )
    reaper = Reaper(jobs, publisher, settings.queue_url, Workers(redis))
    app = make_app(settings)
    note_refused(Refused(redis))
    threads: list[Ticking] = [RelayThread(relay, reaper, redis), webhooks(settings, app, jobs, redis)]
    parts = Parts(
        settings=settings, client=redis, scorings=scorings, jobs=jobs, workers=Workers(redis), objects=objects,
        publisher=publisher, signing=signing(settings),
    )  # fmt: skip
    threads.append(scoring(app, parts))
    if not settings.embedded:
        threads.append(Drain(Undertaker(jobs, Refused(redis), signing(settings)), settings.queue_url, redis))
    for thread in threads:
        app.steps["worker"].add(ticking_step(thread))
    run_worker(
        app, name=f"orchestrator-{socket.gethostname()}-{os.getpid()}",
        queues=[ORCHESTRATOR_QUEUE, WEBHOOK_QUEUE, SCORING_QUEUE], threads=THREADS + MOST,
    )  # fmt: skip
    publisher.close()
    return 0


def webhooks(settings: Settings, app: Celery, jobs: JobStore, client: Client) -> Ticking:
    """Make `app` able to send webhooks; the thread that has it send what is due."""
    endpoints, deliveries = Endpoints(client), Deliveries(client)
    deliverer = Deliverer(endpoints, deliveries, partial(post, policy=Policy.from_settings(settings)))
    register(app, deliverer)

    def stopping(**_: Any) -> None:
        deliverer.stop.set()

    worker_shutting_down.connect(stopping, weak=False)
    expander = Expander(jobs, Scorings(client), endpoints, deliveries, base=base_of(settings))
    return Dispatcher(app, expander, deliveries, client, queue=WEBHOOK_QUEUE)


def scoring(app: Celery, parts: Parts) -> Ticking:
    """Make `app` able to drive scorings; the thread that has it drive what nobody does."""
    seats = Seats(parts)
    scoring_tasks.register(app, seats)

    def stopping(**_: Any) -> None:
        seats.stop.set()

    worker_shutting_down.connect(stopping, weak=False)
    return scoring_tasks.Dispatcher(app, parts.scorings, queue=SCORING_QUEUE)
