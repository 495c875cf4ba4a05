"""A link to the broker that carries nothing any more, and says so to neither side, stops none of the chores."""

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest
from kombu import Connection, Queue

from settings import Settings
from storage.connection import Client
from storage.deliveries import AGAIN_MS
from storage.job import Status
from storage.jobs import JobStore
from storage.refused import Refused
from storage.workers import Workers
from tasks import link
from tasks.app import WEBHOOK_QUEUE, make_app
from tasks.draining import Drain, Undertaker
from tasks.message import VERSION, Message
from tasks.publisher import Publisher
from tasks.reaper import STUCK_S, Lane, Reaper
from tasks.topology import DEAD_EXCHANGE, depth
from tasks.webhooks.dispatching import Dispatcher
from tests.chaos.proxy import Link, Proxies
from tests.tasks.hooks import Hooks

MESSAGE = Message(v=VERSION, id="job_0", model="echo", version="silent", inputs=msgspec.Raw(b"{}"), tenant="acme")


@pytest.fixture
def proxies(broker_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxies]:
    # As it is, only sooner.
    monkeypatch.setattr(link, "READ_S", 0.5)
    proxies = Proxies(Link("broker", urlsplit(broker_url).port or 5672))
    proxies.start()
    yield proxies
    proxies.close()


@pytest.fixture
def url(broker_url: str, proxies: Proxies) -> str:
    """The broker's, by way of the proxy."""
    parts = urlsplit(broker_url)
    return parts._replace(netloc=parts.netloc.replace(f":{parts.port}", f":{proxies.links['broker'].port}")).geturl()


@pytest.fixture
def queue(broker_url: str) -> Iterator[Callable[[], int]]:
    """How much lies in a queue for webhooks' tasks."""
    with Connection(broker_url) as connection:
        with connection.channel() as channel:
            Queue(WEBHOOK_QUEUE, durable=True, queue_arguments={"x-queue-type": "quorum"})(channel).declare()
        yield lambda: depth(connection, WEBHOOK_QUEUE)
        with connection.channel() as channel:
            channel.queue_delete(WEBHOOK_QUEUE)


def test_webhooks_are_sent_again_after_a_silent_link(
    proxies: Proxies, url: str, queue: Callable[[], int], store: Client, tmp_path: Path
) -> None:
    hooks, app = Hooks(store), make_app(Settings(data=tmp_path))
    app.conf.broker_url = url
    dispatcher = Dispatcher(app, hooks.expander, hooks.deliveries, store, queue=WEBHOOK_QUEUE)
    hooks.submit()
    hooks.finish()
    dispatcher.work()
    assert queue() == 1
    proxies.forget("broker")
    hooks.clock.ms += AGAIN_MS
    with pytest.raises(TimeoutError):
        dispatcher.work()
    assert queue() == 1
    hooks.clock.ms += AGAIN_MS
    dispatcher.work()
    assert queue() == 2
    dispatcher.close()


def test_dead_letters_are_taken_again_after_a_silent_link(
    proxies: Proxies, url: str, broker_url: str, store: Client
) -> None:
    jobs = JobStore(store)
    drain = Drain(Undertaker(jobs, Refused(store)), url, store)
    drain.work()
    proxies.forget("broker")
    with pytest.raises(TimeoutError):
        drain.work()
    with Connection(broker_url) as connection, connection.channel() as channel:
        connection.Producer(channel).publish(
            MESSAGE.encode(), exchange=DEAD_EXCHANGE, routing_key="", content_type="application/json",
            content_encoding="utf-8",
        )  # fmt: skip
        drain.work()
    job = jobs.get("job_0")
    assert job is not None
    assert job.status is Status.FAILED
    drain.close()


def test_look_for_stuck_jobs_ends_on_a_link_that_goes_silent(
    proxies: Proxies, url: str, store: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = MESSAGE.encode()
    jobs = JobStore(store, now_ms=lambda: 10**9)
    jobs.create(MESSAGE.record(body, now_ms=1))
    publisher = Publisher(url, deadline_s=2, queues=lambda: [MESSAGE.queue])
    reaper = Reaper(jobs, publisher, url, Workers(store))

    def connected(url: str) -> Connection:
        connection = link.connected(url)
        proxies.forget("broker")
        return connection

    with monkeypatch.context() as patch:
        patch.setattr("tasks.reaper.connected", connected)
        with pytest.raises(TimeoutError):
            reaper.lanes()
    assert reaper.lanes() == [Lane(MESSAGE.queue, 10**9 - round(STUCK_S * 1000))]
    publisher.close()


def test_new_lane_is_declared_on_a_new_link_after_a_silent_one(proxies: Proxies, url: str) -> None:
    made = link.link(url, [MESSAGE.queue])
    proxies.forget("broker")
    with pytest.raises(TimeoutError):
        made.declare(["test.silent.new"])
    made.close()
