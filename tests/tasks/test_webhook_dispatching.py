"""Tasks for what is due: as many as a target needs, again where they were lost, and nothing lost with the store."""

import json
from base64 import b64decode
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from celery import Celery

from errors import StoreUnavailable
from settings import Settings
from storage.connection import Client
from storage.deliveries import AGAIN_MS, AT_ONCE
from tasks.app import WEBHOOK_QUEUE, make_app
from tasks.webhooks.dispatching import TASK, Dispatcher, register
from tests.services.valkey import Valkey
from tests.tasks.hooks import Hooks

TARGET = "acme/@erp.example"


@pytest.fixture
def hooks(store: Client) -> Hooks:
    return Hooks(store)


@pytest.fixture
def dispatcher(hooks: Hooks, store: Client, valkey: Valkey, tmp_path: Path) -> Iterator[Callable[[str], Dispatcher]]:
    made: list[Dispatcher] = []

    def make(broker: str = valkey.queue_url) -> Dispatcher:
        app = make_app(Settings(data=tmp_path))
        app.conf.broker_url = broker
        made.append(Dispatcher(app, hooks.expander, hooks.deliveries, store, queue=WEBHOOK_QUEUE))
        return made[-1]

    yield make
    for one in made:
        one.close()


def published(store: Client) -> list[tuple[str, list[str]]]:
    """The tasks in the queue, name and arguments; they are taken out."""
    envelopes = [json.loads(text) for text in store.lrange(WEBHOOK_QUEUE, 0, -1)]
    store.delete(WEBHOOK_QUEUE)
    return [(one["headers"]["task"], json.loads(b64decode(one["body"]))[0]) for one in envelopes]


def ended(hooks: Hooks, count: int) -> None:
    for number in range(count):
        hooks.submit(f"job_{number}")
        hooks.finish(f"job_{number}")


def test_target_gets_a_task_for_each_sender_it_needs(
    hooks: Hooks, dispatcher: Callable[..., Dispatcher], store: Client
) -> None:
    ended(hooks, 2)
    dispatcher().work()
    assert published(store) == [(TASK, [TARGET])] * 2
    ended(hooks, 20)
    dispatcher().work()
    assert published(store) == [(TASK, [TARGET])] * AT_ONCE


def test_lost_tasks_are_published_again_and_not_before(
    hooks: Hooks, dispatcher: Callable[..., Dispatcher], store: Client
) -> None:
    ended(hooks, 1)
    dispatch = dispatcher()
    dispatch.work()
    assert len(published(store)) == 1
    hooks.clock.ms += AGAIN_MS - 1
    dispatch.work()
    assert published(store) == []
    hooks.clock.ms += 1
    dispatch.work()
    assert len(published(store)) == 1


def test_broker_that_is_away_costs_nothing_but_time(
    hooks: Hooks, dispatcher: Callable[..., Dispatcher], store: Client
) -> None:
    ended(hooks, 1)
    with pytest.raises(Exception, match="refused"):
        dispatcher("amqp://127.0.0.1:1//").work()
    hooks.clock.ms += AGAIN_MS
    dispatcher().work()
    assert len(published(store)) == 1


def test_store_that_is_away_is_told_in_a_line(
    hooks: Hooks, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_: str) -> int:
        raise StoreUnavailable("the job store does not answer")

    monkeypatch.setattr(hooks.deliverer, "drain", away)
    register(Celery("test", set_as_current=False), hooks.deliverer)(TARGET)
    assert "webhooks wait for the store" in caplog.text
