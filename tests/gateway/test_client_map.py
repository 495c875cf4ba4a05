"""The real client maps over the real gateway; a hand does what a worker would, in an order of its own."""

import asyncio
import math
from collections.abc import Callable, Iterator
from threading import Event, Thread
from typing import Any

import pytest
from penstock import AsyncPenstock, InvalidInput, MapProgress, ModelError, Penstock, QuotaExceeded, StillRunning
from penstock.job import Job as ClientJob

from storage.job import Status
from storage.quotas import Quota, Quotas
from tests.gateway.gate import Gate, X
from tests.gateway.street import Street

ERROR = b'{"code":"model_error","status":500,"detail":"boom"}'


class Hand:
    """Runs what is queued, the newest first; negative numbers fail."""

    def __init__(self, gate: Gate) -> None:
        self.gate, self.ended = gate, Event()
        self.most = 0
        self._thread = Thread(target=self._run)

    def __enter__(self) -> "Hand":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._thread.join()

    def _run(self) -> None:
        done: set[str] = set()
        while not self.ended.is_set():
            waiting = [message for message in self.gate.queued() if message["id"] not in done]
            self.most = max(self.most, len(waiting))
            for message in reversed(waiting):
                x = message["inputs"]["x"]
                if x[0] < 0:
                    self.gate.finish(message["id"], status=Status.FAILED, error=ERROR)
                else:
                    self.gate.finish(message["id"], {"y": [x]})
                done.add(message["id"])
            self.ended.wait(0.005)


@pytest.fixture
def street(gate: Gate) -> Iterator[Street]:
    street = Street(gate)
    yield street
    street.close()


@pytest.fixture
def client(street: Street) -> Iterator[Penstock]:
    with Hand(street.gate), Penstock(street.url) as client:
        yield client


def items(*numbers: float) -> list[dict[str, Any]]:
    return [{"x": [number, *X[1:]]} for number in numbers]


def firsts(outcomes: Any) -> list[float]:
    return [outputs["y"][0][0] for outputs in outcomes]


def test_outputs_come_in_the_order_of_the_items_in_few_requests(
    street: Street, client: Penstock, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No item is slow to come, however slow the machine is.
    monkeypatch.setattr("penstock.mapping.SLOW_S", math.inf)
    assert firsts(client.map("echo", items(*range(300)), concurrency=1000)) == list(range(300))
    assert set(street.seen) == {"POST /v1/jobs:batch", "POST /v1/jobs:collect"}
    # 1, 2, 4, … 128 items, and what is left.
    assert street.seen.count("POST /v1/jobs:batch") == 9


def test_unordered_outputs_come_all_the_same(client: Penstock) -> None:
    assert sorted(firsts(client.map("echo", items(*range(50)), ordered=False))) == list(range(50))


def test_an_error_is_the_value_of_its_item_where_errors_are_wanted(client: Penstock) -> None:
    outcomes = list(client.map("echo", [*items(1, -1), {"x": "no"}, {"x": [object()]}, *items(2)], return_errors=True))
    assert [type(outcome) for outcome in outcomes] == [dict, ModelError, InvalidInput, InvalidInput, dict]
    assert outcomes[1].job_id
    assert outcomes[2].errors[0].pointer == "#/inputs/x"


def test_the_first_error_is_raised_behind_what_came_before_it(client: Penstock) -> None:
    outcomes = client.map("echo", items(0, 1, 2, -1, 4))
    assert firsts([next(outcomes) for _ in range(3)]) == [0, 1, 2]
    with pytest.raises(ModelError, match="boom"):
        next(outcomes)


def test_endless_items_are_read_only_so_far_ahead(client: Penstock) -> None:
    read: list[int] = []

    def endless() -> Iterator[dict[str, Any]]:
        while True:
            read.append(1)
            yield items(len(read))[0]

    outcomes = client.map("echo", endless(), concurrency=10)
    assert [next(outcomes)["y"][0][0] for _ in range(25)] == list(range(1, 26))
    assert len(read) <= 25 + 10


def test_progress_tells_what_was_read_and_how_it_ended(client: Penstock) -> None:
    told: list[MapProgress] = []
    list(client.map("echo", items(1, -1, 2), return_errors=True, progress=told.append))
    assert told[-1] == MapProgress(read=3, done=3, failed=1)


def test_an_item_may_be_the_value_of_the_only_input(client: Penstock) -> None:
    assert firsts(client.map("echo", [[5.0, *X[1:]], [6.0, *X[1:]]])) == [5, 6]


def test_numpy_outputs_have_the_declared_datatype(client: Penstock) -> None:
    [outputs] = client.map("echo", items(3), as_numpy=True)
    assert (outputs["y"].dtype.name, outputs["y"].shape) == ("float32", (1, 4))


def test_what_the_farm_has_no_room_for_is_sent_again(street: Street, client: Penstock) -> None:
    Quotas(street.gate.store).set("local", Quota(max_in_flight=3))
    street.gate.parts.toll.look()
    assert firsts(client.map("echo", items(*range(20)), concurrency=20)) == list(range(20))


def test_an_unknown_model_is_an_error_of_each_item(client: Penstock) -> None:
    [one, two] = client.map("nothing", items(1, 2), return_errors=True)
    assert (one.code, two.code) == ("unknown_model", "unknown_model")


@pytest.mark.parametrize("concurrency", [0, 1001])
def test_a_window_has_its_bounds(client: Penstock, concurrency: int) -> None:
    with pytest.raises(ValueError, match="between 1 and 1000"):
        client.map("echo", [], concurrency=concurrency)


def test_no_items_make_no_request(street: Street, client: Penstock) -> None:
    assert list(client.map("echo", [])) == []
    assert street.seen == []


def test_the_asynchronous_map_takes_both_kinds_of_items(street: Street, client: Penstock) -> None:
    async def coming() -> Any:
        for item in items(*range(30)):
            yield item

    async def mapped() -> list[Any]:
        async with AsyncPenstock(street.url) as other:
            one = [outputs async for outputs in other.map("echo", items(*range(30)))]
            return one + [outputs async for outputs in other.map("echo", coming(), concurrency=7)]

    assert firsts(asyncio.run(mapped())) == [*range(30), *range(30)]


def test_jobs_are_told_as_they_end(make: Callable[..., Gate]) -> None:
    street = Street(make())
    try:
        with Penstock(street.url) as client:
            jobs = client.jobs.submit_many({"model": "echo", "inputs": item} for item in items(1, 2, 3))
            good = [job for job in jobs if isinstance(job, ClientJob)]
            street.gate.finish(good[1].id)
            with pytest.raises(StillRunning, match="2 jobs have not ended"):
                list(client.jobs.as_completed(good, timeout_s=0.05))
            street.gate.finish(good[2].id, status=Status.FAILED, error=ERROR)
            street.gate.finish(good[0].id)
            assert {job.id: job.status for job in client.jobs.as_completed(good)} == {
                good[0].id: "succeeded", good[1].id: "succeeded", good[2].id: "failed"
            }  # fmt: skip
    finally:
        street.close()


def test_events_are_told_up_to_the_end_and_not_twice(street: Street, client: Penstock) -> None:
    job = client.jobs.submit("echo", items(1)[0])
    events = list(client.jobs.events(job))
    assert events[-1].job.status == "succeeded"
    assert len({event.id for event in events}) == len(events)
    assert list(client.jobs.events(job, last_event_id=events[-1].id)) == []


def test_a_farm_that_stays_full_is_told_in_the_end(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.mapping.PATIENCE_S", 0.0)
    Quotas(street.gate.store).set("local", Quota(max_in_flight=1))
    street.gate.parts.toll.look()
    with Penstock(street.url) as client:
        client.jobs.submit("echo", items(1)[0])
        [outcome] = client.map("echo", items(2), return_errors=True)
    assert isinstance(outcome, QuotaExceeded)
