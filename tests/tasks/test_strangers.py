"""Refused tasks are noted for the operator, and the event loop that refuses them waits for no store."""

import threading
from types import SimpleNamespace

import pytest
import redis
from celery import signals

from storage.refused import Refused
from tasks.strangers import note_refused
from tests.gateway.test_waiting import until


class Slow(Refused):
    """A store that answers when a test lets it."""

    def __init__(self, client: "redis.Redis") -> None:
        super().__init__(client)
        self.asked, self.answer = threading.Event(), threading.Event()

    def note(self, body: bytes, *, queue: str, reason: str) -> None:
        self.asked.set()
        assert self.answer.wait(10)
        super().note(body, queue=queue, reason=reason)


@pytest.fixture(autouse=True)
def no_other_receivers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals.task_rejected, "receivers", [])


def test_refused_task_is_noted_while_the_event_loop_goes_on(store: "redis.Redis") -> None:
    refused = Slow(store)
    note_refused(refused)
    message = SimpleNamespace(body=b"rm -rf", delivery_info={"routing_key": "penstock.tasks"})
    # Answered though the store does not.
    signals.task_rejected.send(sender=None, message=message, exc="it names no task")
    assert refused.asked.wait(10)
    assert refused.newest(9) == []
    refused.answer.set()
    until(lambda: len(refused.newest(9)) == 1)
    (seen,) = refused.newest(9)
    assert (seen.refusal.queue, seen.refusal.reason) == ("penstock.tasks", "no task of ours: it names no task")
