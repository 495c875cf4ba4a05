"""What waits, model by model: everybody's jobs counted, nobody's shown."""

from typing import Any

from gateway.views.queues import Rates
from storage.quotas import Quota, Quotas
from storage.statistics import Recorder
from tests.gateway.gate import ECHO, Gate, Ticks

KEY = ("cpu", "echo", "1")


def seen(gate: Gate) -> dict[str, object]:
    data = gate.client.get("/v1/queues").json["data"]
    found: dict[str, object] = next(one for one in data if one["model"] == "echo")
    return found


def test_lanes_workers_and_the_callers_own_are_counted(gate: Gate) -> None:
    gate.serve("echo", rows=10, busy_ms=200.0, executors=2)
    for priority in ("high", "normal", "normal", "low"):
        gate.submit(ECHO | {"priority": priority})
    queue = seen(gate)
    assert (queue["waiting"], queue["lanes"]) == (4, {"high": 1, "normal": 2, "low": 1})
    assert (queue["workers"], queue["executors"], queue["jobs_per_s"]) == (1, 2, None)
    assert queue["drain_s"] == 0.04, "four jobs of 20 ms on two executors"
    assert gate.client.get("/v1/queues").json["in_flight"] == {"jobs": 4, "limit": None}
    Quotas(gate.store).set("local", Quota(max_in_flight=9))
    gate.parts.toll.look()
    assert gate.client.get("/v1/queues").json["in_flight"] == {"jobs": 4, "limit": 9}


def test_drain_time_is_unknown_where_nobody_works(gate: Gate) -> None:
    gate.submit()
    assert (seen(gate)["workers"], seen(gate)["drain_s"]) == (0, None)


def test_empty_queue_is_drained(gate: Gate) -> None:
    assert (seen(gate)["waiting"], seen(gate)["drain_s"]) == (0, 0.0)


def test_rate_is_that_of_the_last_minute() -> None:
    ticks = Ticks()
    rates = Rates(ticks)
    assert rates.note({KEY: 100}) == {}
    ticks.now += 0.5
    assert rates.note({KEY: 150}) == {}, "too near to say"
    ticks.now += 9.5
    assert rates.note({KEY: 200}) == {KEY: 10.0}
    ticks.now += 55
    assert rates.note({KEY: 200}) == {KEY: 0.0}
    assert rates.note({}) == {}


def test_drain_time_follows_the_rate(gate: Gate) -> None:
    recorder = Recorder()
    gate.serve("echo", executors=1)
    gate.submit()
    gate.client.get("/v1/queues")
    recorder.add_batch(rows=1000, queue_ms=[1.0] * 1000, stages_ms={})
    gate.serve("echo", executors=1, figures=recorder.take())
    gate.parts.register.all()
    view: Any = gate.app.view_functions["listQueues"]
    looks = view.__self__.rates._looks
    looks[0] = looks[0]._replace(at_s=looks[0].at_s - 10)
    queue = seen(gate)
    assert isinstance(queue["jobs_per_s"], float)
    assert 90 < queue["jobs_per_s"] <= 100
    assert isinstance(queue["drain_s"], float)
    assert 0.01 <= queue["drain_s"] < 0.02
