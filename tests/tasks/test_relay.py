"""What is due happens: retries published, jobs expired, results and objects erased, lost messages replaced."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis
from kombu import Connection

from errors import BrokerUnavailable, NotFound
from storage.connection import Client
from storage.deadletters import DeadLetters
from storage.deliveries import Deliveries
from storage.job import Job, Status
from storage.jobs import SWEEP_MS, JobStore, Outcome, Return, Want
from storage.objects import Objects, open_objects
from storage.pins import Pins
from storage.quotas import Quotas
from storage.scoring import Part, Spec
from storage.scorings import Scorings
from storage.workers import Workers, WorkerStatus
from tasks.message import VERSION, Message
from tasks.publisher import Publisher
from tasks.relay import NEEDED_MS, Patience, Relay, stored
from tasks.replaying import Replayer
from tasks.scoring.afterlife import Afterlife
from tasks.topology import depth
from tests.services.valkey import Valkey


class Clock:
    ms = 1_000_000

    def __call__(self) -> int:
        return self.ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def jobs(store: "redis.Redis", clock: Clock) -> JobStore:
    return JobStore(store, now_ms=clock)


@pytest.fixture
def publisher(valkey: Valkey, store: "redis.Redis") -> Iterator[Publisher]:
    publisher = Publisher(valkey.queue_url, deadline_s=2, queues=lambda: [MESSAGE.queue])
    yield publisher
    publisher.close()


@pytest.fixture
def workers(store: "redis.Redis") -> Workers:
    return Workers(store)


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    return open_objects(f"file://{tmp_path}/objects")


@pytest.fixture
def relay(store: Client, jobs: JobStore, objects: Objects, publisher: Publisher) -> Relay:
    replayer = Replayer(DeadLetters(store, jobs), jobs, Quotas(store))
    afterlife = Afterlife(Scorings(store, now_ms=jobs.now_ms), jobs, objects)
    pins = Pins(store, Scorings(store).get)
    return Relay(jobs, objects, publisher, Deliveries(store), replayer, afterlife, pins=pins)


MESSAGE = Message(v=VERSION, id="job_1", model="echo", version="1", inputs=msgspec.Raw(b"{}"), tenant="acme")


def submit(jobs: JobStore, **more: float) -> Job:
    message = msgspec.structs.replace(MESSAGE, result_ttl_s=60, **more)
    jobs.create(message.record(message.encode(), now_ms=jobs.now_ms()))
    return found(jobs)


def found(jobs: JobStore) -> Job:
    job = jobs.get("job_1")
    assert job is not None
    return job


def claim(jobs: JobStore) -> int:
    want = Want("job_1", MESSAGE.queue, False, f"w/{jobs.now_ms()}")
    (answer,) = jobs.claim_all([want], device="cpu:0", losses_allowed=1, lost_error=b"{}")
    return answer.token


def waiting_messages(valkey: Valkey) -> int:
    with Connection(valkey.queue_url) as connection:
        return depth(connection, MESSAGE.queue)


def test_retry_is_published_when_its_delay_is_over(relay: Relay, jobs: JobStore, clock: Clock, valkey: Valkey) -> None:
    submit(jobs)
    jobs.requeue_all([Return(id="job_1", queue=MESSAGE.queue, token=claim(jobs), not_before_ms=clock.ms + 500)])
    assert relay.tick() == 0
    clock.ms += 500
    assert relay.tick() == 1
    assert waiting_messages(valkey) == 1
    assert claim(jobs) == 2
    assert relay.tick() == 0


def test_retry_asked_for_while_the_last_one_is_published_is_not_forgotten(
    relay: Relay, jobs: JobStore, clock: Clock
) -> None:
    submit(jobs)
    jobs.requeue_all([Return(id="job_1", queue=MESSAGE.queue, token=claim(jobs), not_before_ms=clock.ms + 500)])
    clock.ms += 500
    (due,) = jobs.due(limit=9)
    jobs.release("job_1")
    # A worker is faster than the relay: it has claimed the job, failed, and asked for another attempt.
    jobs.requeue_all([Return(id="job_1", queue=MESSAGE.queue, token=claim(jobs), not_before_ms=clock.ms + 900)])
    jobs.settle(due)
    clock.ms += 900
    assert [due.member for due in jobs.due(limit=9)] == ["retry:job_1"]


def test_job_that_did_not_start_in_time_expires(relay: Relay, jobs: JobStore, clock: Clock) -> None:
    submit(jobs, queue_ttl_s=1)
    clock.ms += 1000
    relay.tick()
    assert found(jobs).status is Status.EXPIRED


def test_result_is_erased_with_its_objects_when_its_time_is_over(
    relay: Relay, jobs: JobStore, clock: Clock, objects: Objects
) -> None:
    submit(jobs)
    objects.put("acme/jobs/job_1/in/x", [b"input"])
    objects.put("acme/jobs/job_1/out/1", [b"output"])
    key = "acme/jobs/job_1/out/1"
    jobs.finish_all(
        [Outcome(id="job_1", queue=MESSAGE.queue, token=claim(jobs), status=Status.SUCCEEDED, outputs_key=key)]
    )
    relay.tick()
    assert list(objects.keys("acme/jobs/job_1/")) != []
    clock.ms += 60_000
    relay.tick()
    assert list(objects.keys("acme/jobs/job_1/")) == []
    assert found(jobs).erased == "expired"
    assert jobs.due(limit=9) == []


def test_uploaded_object_is_erased_when_its_time_is_over(
    relay: Relay, jobs: JobStore, clock: Clock, objects: Objects
) -> None:
    objects.put("acme/objects/obj_1", [b"upload"])
    jobs.schedule("object:acme/objects/obj_1", at_ms=clock.ms + 10)
    relay.tick()
    assert objects.size("acme/objects/obj_1") == 6
    clock.ms += 10
    relay.tick()
    assert objects.size("acme/objects/obj_1") is None


def take_over(jobs: JobStore, holder: str) -> int:
    want = Want("job_1", MESSAGE.queue, True, holder)
    (answer,) = jobs.claim_all([want], device="cpu:0", losses_allowed=1, lost_error=b"{}")
    return answer.token


def attend(relay: Relay, clock: Clock, seconds: int) -> None:
    """Let so many seconds pass while the store answers all the time."""
    for _ in range(seconds):
        clock.ms += 1000
        relay.tick()


def counts(jobs: JobStore) -> tuple[int, int]:
    return found(jobs).losses, found(jobs).interruptions


def test_job_taken_over_from_a_worker_that_lives_was_interrupted(
    relay: Relay, jobs: JobStore, clock: Clock, workers: Workers
) -> None:
    submit(jobs)
    workers.beat(WorkerStatus(name="w1", pool="cpu", started_ms=1, models=()), now_ms=clock.ms)
    take_over(jobs, "w1/1")
    take_over(jobs, "w2/1")
    attend(relay, clock, 40)
    assert counts(jobs) == (0, 1)
    assert jobs.counters()["interruptions"] == 1
    assert not [due for due in jobs.due(limit=9) if due.member.startswith("doubt:")]


def test_job_taken_over_from_a_worker_that_is_gone_was_lost(relay: Relay, jobs: JobStore, clock: Clock) -> None:
    submit(jobs)
    take_over(jobs, "w1/1")
    take_over(jobs, "w2/1")
    assert counts(jobs) == (0, 1), "the worker may be alive"
    attend(relay, clock, 40)
    assert counts(jobs) == (1, 0)
    assert jobs.counters()["worker_losses"] == 1


def test_nobody_is_said_to_be_gone_before_the_store_has_answered_for_a_while(
    relay: Relay, jobs: JobStore, clock: Clock
) -> None:
    submit(jobs)
    take_over(jobs, "w1/1")
    take_over(jobs, "w2/1")
    clock.ms += 60_000
    attend(relay, clock, 14)
    assert counts(jobs) == (0, 1)
    attend(relay, clock, 10)
    assert counts(jobs) == (1, 0)


def test_outputs_of_attempts_that_died_before_their_commit_are_erased(
    relay: Relay, jobs: JobStore, clock: Clock, objects: Objects
) -> None:
    submit(jobs)
    take_over(jobs, "w1/1")
    token = take_over(jobs, "w2/1")
    for name in ("in/0", "out/1-a", "out/2-b"):
        objects.put(f"acme/jobs/job_1/{name}", [b"x"])
    key = "acme/jobs/job_1/out/2-b"
    jobs.finish_all([Outcome(id="job_1", queue=MESSAGE.queue, token=token, status=Status.SUCCEEDED, outputs_key=key)])
    attend(relay, clock, 6)
    assert sorted(objects.keys("acme/jobs/job_1/")) == ["acme/jobs/job_1/in/0", key]


def test_worker_that_ended_as_it_should_is_no_loss(
    relay: Relay, jobs: JobStore, clock: Clock, workers: Workers
) -> None:
    submit(jobs)
    workers.beat(WorkerStatus(name="w1", pool="cpu", started_ms=1, models=()), now_ms=clock.ms)
    take_over(jobs, "w1/1")
    take_over(jobs, "w2/1")
    workers.leave("w1")
    attend(relay, clock, 40)
    assert (workers.all(), counts(jobs)) == ([], (0, 1))


def test_upload_by_a_presigned_url_is_measured_once_nobody_can_send_any_more(
    store: Client, jobs: JobStore, objects: Objects, publisher: Publisher, clock: Clock
) -> None:
    replayer = Replayer(DeadLetters(store, jobs), jobs, Quotas(store))
    afterlife = Afterlife(Scorings(store), jobs, objects)
    pins = Pins(store, Scorings(store).get)
    relay = Relay(jobs, objects, publisher, Deliveries(store), replayer, afterlife, pins=pins, max_object_bytes=10)
    for name, size in (("small", 10), ("large", 11)):
        objects.put(f"acme/objects/{name}", [b"x" * size])
        jobs.schedule(f"measure:acme/objects/{name}", at_ms=clock.ms + 500)
    assert relay.tick() == 0
    clock.ms += 500
    assert relay.tick() == 2
    assert list(objects.keys()) == ["acme/objects/small"]
    assert relay.tick() == 0


def test_upload_that_nobody_completed_is_erased_and_a_completed_one_stays(
    jobs: JobStore, relay: Relay, objects: Objects, clock: Clock
) -> None:
    uploads, parts = objects.multipart(), {}
    for name in ("left", "done"):
        id = uploads.begin(f"acme/objects/{name}")
        parts[name] = id, uploads.put(f"acme/objects/{name}", id, 1, [b"x"], offset=0, length=1)
        jobs.schedule(f"upload:acme/objects/{name}", at_ms=clock.ms + 500)
    id, part = parts["done"]
    uploads.complete("acme/objects/done", id, [part])
    clock.ms += 500
    assert relay.tick() == 2
    assert relay.tick() == 0
    assert list(objects.keys()) == ["acme/objects/done"]
    with pytest.raises(NotFound):
        uploads.parts("acme/objects/left", parts["left"][0])


def test_inputs_of_a_job_that_never_came_to_be_are_swept(
    jobs: JobStore, relay: Relay, objects: Objects, clock: Clock
) -> None:
    submit(jobs)
    for id in ("job_1", "job_2"):
        jobs.schedule_sweep(f"acme/jobs/{id}/")
        objects.put(f"acme/jobs/{id}/in/0", [b"{}"])
    relay.tick()
    assert len(list(objects.keys())) == 2
    clock.ms += SWEEP_MS
    relay.tick()
    assert list(objects.keys()) == ["acme/jobs/job_1/in/0"]
    assert jobs.due(limit=10) == []


def test_inputs_of_a_withdrawn_job_are_swept(jobs: JobStore, relay: Relay, objects: Objects, clock: Clock) -> None:
    submit(jobs)
    jobs.withdraw(MESSAGE.record(MESSAGE.encode(), now_ms=jobs.now_ms()))
    jobs.schedule_sweep("acme/jobs/job_1/")
    objects.put("acme/jobs/job_1/in/0", [b"{}"])
    clock.ms += SWEEP_MS
    relay.tick()
    assert list(objects.keys()) == []


@pytest.mark.parametrize("jump_ms", [-600_000, 600_000])
def test_patience_begins_anew_where_the_clock_is_set_and_is_over_as_soon_as_ever(jump_ms: int) -> None:
    patience, now = Patience(), 1_000_000
    patience.answered(now)
    now += jump_ms
    patience.answered(now)
    assert not patience.over
    for _ in range(40):
        now += 500
        patience.answered(now)
    assert patience.over


def test_member_that_cannot_be_done_keeps_none_of_the_others(
    relay: Relay, jobs: JobStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(jobs, queue_ttl_s=1)
    jobs.schedule("replay:broken", at_ms=1)
    jobs.schedule("future:kind", at_ms=2)

    def fail(*_: object) -> None:
        raise OverflowError("planted")

    monkeypatch.setattr(Replayer, "step", fail)
    clock.ms += 2000
    relay.tick()
    assert found(jobs).status is Status.EXPIRED
    # They are tried again later, and stand in nobody's way meanwhile.
    assert jobs.due(limit=9) == []
    clock.ms += 30_000
    assert {due.member for due in jobs.due(limit=9)} == {"replay:broken", "future:kind"}


def test_retries_that_the_broker_does_not_take_leave_room_for_others(
    relay: Relay, jobs: JobStore, clock: Clock, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(jobs)
    jobs.requeue_all([Return(id="job_1", queue=MESSAGE.queue, token=claim(jobs), not_before_ms=clock.ms + 500)])
    clock.ms += 500
    monkeypatch.setattr(publisher, "publish", lambda messages: [BrokerUnavailable() for _ in messages])
    relay.tick()
    assert jobs.due(limit=9) == []
    clock.ms += 2000
    assert [due.member for due in jobs.due(limit=9)] == ["retry:job_1"]


def test_object_store_is_asked_only_where_it_may_hold_something() -> None:
    body = MESSAGE.encode()
    plain = Job(
        id="job_1", tenant="acme", queue=MESSAGE.queue, status=Status.SUCCEEDED, message=body, created_ms=1, attempt=1
    )
    assert not stored(plain)
    changes: list[dict[str, Any]] = [
        {"message": body.replace(b"{}", b'{"x": {"object": "acme/jobs/job_1/in/x"}}')}, {"attempt": 2},
        {"outputs_key": "acme/jobs/job_1/out/1"}, {"steps": b"[]"}, {"status": Status.CANCELED},
    ]  # fmt: skip
    for change in changes:
        assert stored(msgspec.structs.replace(plain, **change)), change


def test_upload_that_a_scoring_reads_outlives_its_time(
    store: Client, jobs: JobStore, objects: Objects, relay: Relay, clock: Clock
) -> None:
    scorings = Scorings(store)
    asked = Spec(
        id="scr_1", tenant="acme", model="mlp", version="1", input=(Part("acme/objects/obj_1", "e", 1),),
        format="csv", output_format="csv", inputs=msgspec.Raw(b"[]"), outputs=msgspec.Raw(b"[]"), max_items=4,
        created_ms=1,
    )  # fmt: skip
    for id in ("obj_1", "obj_2"):
        objects.put(f"acme/objects/{id}", [b"x"])
        jobs.schedule(f"object:acme/objects/{id}", at_ms=clock.ms - 1)
    Pins(store, scorings.get).hold("scr_1", ["acme/objects/obj_1"])
    scorings.create(asked)
    relay.tick()
    assert list(objects.keys("acme/objects/")) == ["acme/objects/obj_1"]
    scorings.cancel("scr_1")
    clock.ms += NEEDED_MS + 1
    relay.tick()
    assert list(objects.keys("acme/objects/")) == []
