"""A job's life as server-sent events."""

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import gateway.views.events
from storage import keys
from storage.job import Status
from storage.jobs import Outcome
from tests.gateway.gate import Gate
from tests.gateway.test_waiting import subscribed, until, waiters


def open_stream(gate: Gate, id: str, **headers: str) -> Iterator[dict[str, Any]]:
    """The stream's events as they come; the server's side runs in the reader's thread."""
    answer = gate.client.get(f"/v1/jobs/{id}/events", headers=headers)
    assert (answer.status_code, answer.content_type) == (200, "text/event-stream")
    for chunk in answer.response:
        pairs = [line.partition(": ") for line in chunk.decode().splitlines() if line]
        lines = {name: value for name, _, value in pairs}
        yield {"id": lines.get("id"), "data": json.loads(lines["data"])} if "data" in lines else lines
    answer.close()


def test_every_change_of_state_is_told(gate: Gate) -> None:
    id = gate.submit()
    stream = open_stream(gate, id)
    assert next(stream) == {"retry": "1000"}
    assert next(stream)["data"]["status"] == "queued"
    told: list[dict[str, Any]] = []
    reader = threading.Thread(target=lambda: told.extend(stream))
    reader.start()
    until(lambda: subscribed(gate, keys.MOVES))
    job = gate.record(id)
    gate.start(id)
    until(lambda: len(told) == 1)
    done = Outcome(id=id, queue=job.queue, token=1, status=Status.SUCCEEDED, outputs=b"{}")
    gate.parts.jobs.finish_all([done])
    reader.join(10)
    assert [(event["id"], event["data"]["status"]) for event in told] == [
        ("1-running", "running"),
        ("1-succeeded", "succeeded"),
    ]
    until(lambda: not subscribed(gate, keys.MOVES))
    assert waiters(gate) == 0


def test_ended_job_is_told_and_the_stream_ends(gate: Gate) -> None:
    id = gate.submit()
    gate.finish(id)
    events = list(open_stream(gate, id))
    assert [event["data"]["status"] for event in events[1:]] == ["succeeded"]


def test_client_that_comes_back_is_not_told_what_it_knows(gate: Gate) -> None:
    id = gate.submit()
    gate.finish(id)
    assert list(open_stream(gate, id, **{"Last-Event-ID": "1-succeeded"})) == [{"retry": "1000"}]


def test_silent_stream_shows_signs_of_life(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway.views.events, "HEARTBEAT_S", 0.01)
    monkeypatch.setattr(gateway.views.events, "LONGEST_S", 0.2)
    answer = gate.client.get(f"/v1/jobs/{gate.submit()}/events")
    chunks = list(answer.response)
    assert chunks.count(b": still here\n\n") > 3
    assert waiters(gate) == 0


def test_shutdown_ends_streams(gate: Gate) -> None:
    stream = open_stream(gate, gate.submit())
    assert [next(stream)["retry"], next(stream)["data"]["status"]] == ["1000", "queued"]
    gate.parts.waiting.close()
    assert list(stream) == []


def test_stream_beyond_the_slots_tells_the_state_and_ends(make: Callable[..., Gate]) -> None:
    gate = make(slots=0)
    events = list(open_stream(gate, gate.submit()))
    assert [event["data"]["status"] for event in events[1:]] == ["queued"]


def test_stream_of_another_tenants_job_is_404(gate: Gate) -> None:
    id = gate.submit(Authorization="Bearer " + gate.parts.access.create("acme"))
    assert gate.client.get(f"/v1/jobs/{id}/events").status_code == 404
