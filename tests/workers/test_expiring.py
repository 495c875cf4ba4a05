"""A job that waits in a worker's hands and can no longer start in time ends at once; by its record, not its message."""

from typing import Any, cast

import msgspec
import pytest

from storage.connection import Client
from storage.job import Status
from storage.jobs import JobStore, Want
from tasks.message import VERSION, Message
from workers.batcher import Batcher, Limits
from workers.expiring import expire_late
from workers.hands import Hands
from workers.lane import Delivery, Lane
from workers.stepping import Work, jobs_of

START_MS = 1_000_000


class Clock:
    ms = START_MS

    def __call__(self) -> int:
        return self.ms


class Desk:
    """A lane that only notes what was settled."""

    consumer = "w/1"

    def __init__(self) -> None:
        self.settled: list[int] = []

    def settle(self, *tags: int) -> None:
        self.settled.extend(tags)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def jobs(store: Client, clock: Clock) -> JobStore:
    return JobStore(store, now_ms=clock)


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def batcher() -> Batcher[Work]:
    return Batcher(Limits(8))


def delivery(desk: Desk, tag: int, **fields: Any) -> Delivery:
    message = Message(
        v=VERSION, id=f"job_{tag}", model="echo", version="1", inputs=msgspec.Raw(b"{}"), created_ms=START_MS, **fields
    )
    return Delivery(cast("Lane", desk), tag, message.encode(), message, redelivered=False)


def accept(jobs: JobStore, delivery: Delivery) -> Delivery:
    jobs.create(delivery.message.record(delivery.body, now_ms=START_MS))
    return delivery


def status(jobs: JobStore, tag: int) -> Status:
    job = jobs.get(f"job_{tag}")
    assert job is not None
    return job.status


def claim(jobs: JobStore, one: Delivery, *, redelivered: bool = False) -> Any:
    want = Want(one.message.id, one.message.queue, redelivered, f"w/{one.tag}")
    (answer,) = jobs.claim_all([want], device="cpu:0", losses_allowed=5, lost_error=b"{}")
    return answer


def test_late_job_expires_while_it_waits_and_its_message_goes(
    jobs: JobStore, clock: Clock, desk: Desk, batcher: Batcher[Work]
) -> None:
    for tag, fields in ((1, {"queue_ttl_s": 2}), (2, {"deadline": "1970-01-01T00:16:43Z"}), (3, {})):
        body = {"v": 1, "id": f"job_{tag}", "model": "echo", "version": "1", "inputs": {}, "created_ms": START_MS}
        message = msgspec.json.decode(msgspec.json.encode(body | fields), type=Message)
        one = Delivery(cast("Lane", desk), tag, message.encode(), message, redelivered=False)
        batcher.put("normal", accept(jobs, one))
    assert not expire_late(batcher, Hands(), jobs, now_ms=START_MS + 2000)
    clock.ms = START_MS + 2001
    assert expire_late(batcher, Hands(), jobs, now_ms=clock.ms)
    assert (desk.settled, status(jobs, 1), status(jobs, 2)) == ([1], Status.EXPIRED, Status.QUEUED)
    clock.ms = START_MS + 3001
    assert expire_late(batcher, Hands(), jobs, now_ms=clock.ms)
    assert (desk.settled, status(jobs, 2)) == ([1, 2], Status.EXPIRED)
    assert [one.tag for one in jobs_of(batcher.take())] == [3]


def test_pushed_job_without_a_record_expires_too(
    jobs: JobStore, clock: Clock, desk: Desk, batcher: Batcher[Work]
) -> None:
    batcher.put("normal", delivery(desk, 1, queue_ttl_s=1))
    clock.ms += 1001
    assert expire_late(batcher, Hands(), jobs, now_ms=clock.ms)
    assert (desk.settled, status(jobs, 1), len(batcher)) == ([1], Status.EXPIRED, 0)


def test_job_that_was_canceled_meanwhile_is_let_go(
    jobs: JobStore, clock: Clock, desk: Desk, batcher: Batcher[Work]
) -> None:
    batcher.put("normal", accept(jobs, delivery(desk, 1, queue_ttl_s=1)))
    job = jobs.get("job_1")
    assert job is not None
    jobs.cancel(job)
    clock.ms += 1001
    assert expire_late(batcher, Hands(), jobs, now_ms=clock.ms)
    assert (desk.settled, status(jobs, 1)) == ([1], Status.CANCELED)


def test_job_that_had_started_in_time_is_run_however_late(
    jobs: JobStore, clock: Clock, desk: Desk, batcher: Batcher[Work]
) -> None:
    one = accept(jobs, delivery(desk, 1, queue_ttl_s=1))
    assert claim(jobs, one).verdict == "run"
    batcher.put("normal", one)
    clock.ms += 5000
    assert not expire_late(batcher, Hands(), jobs, now_ms=clock.ms)
    assert not expire_late(batcher, Hands(), jobs, now_ms=clock.ms)
    assert (batcher.take(), desk.settled, status(jobs, 1)) == ([one], [], Status.RUNNING)


def test_job_that_a_client_retried_has_the_time_its_record_says(
    jobs: JobStore, clock: Clock, desk: Desk, batcher: Batcher[Work]
) -> None:
    one = accept(jobs, delivery(desk, 1, queue_ttl_s=1))
    clock.ms += 1001
    job = jobs.get("job_1")
    assert job is not None
    jobs.expire(job)
    jobs.retry(job, start_by_ms=START_MS + 3000)
    batcher.put("normal", one)
    assert not expire_late(batcher, Hands(), jobs, now_ms=clock.ms)
    clock.ms = START_MS + 3001
    assert expire_late(batcher, Hands(), jobs, now_ms=clock.ms)
    assert (desk.settled, status(jobs, 1)) == ([1], Status.EXPIRED)


def test_job_that_was_taken_meanwhile_is_left_to_its_claim(
    jobs: JobStore, clock: Clock, desk: Desk, batcher: Batcher[Work]
) -> None:
    one = accept(jobs, delivery(desk, 1, queue_ttl_s=1))
    batcher.put("normal", one)
    assert batcher.take() == [one]
    clock.ms += 1001
    assert not expire_late(batcher, Hands(), jobs, now_ms=clock.ms)
    assert (claim(jobs, one).verdict, desk.settled) == ("expired", [])
