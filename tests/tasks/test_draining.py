"""What the broker gives up becomes failed jobs, or is noted as what is no job; done twice it does no harm."""

import json

import msgspec
import pytest
import redis

from storage import keys
from storage.job import Job, Status
from storage.jobs import JobStore, Want
from storage.refused import Refused
from tasks.draining import Undertaker, cause
from tasks.message import VERSION, Message, Webhook

MESSAGE = Message(
    v=VERSION, id="job_1", model="echo", version="1", inputs=msgspec.Raw(b"{}"), tenant="acme",
    metadata={"order": "A-17"}, webhook=Webhook("https://hooks.example/"),
)  # fmt: skip
BODY = MESSAGE.encode()


@pytest.fixture
def jobs(store: "redis.Redis") -> JobStore:
    return JobStore(store)


@pytest.fixture
def refused(store: "redis.Redis") -> Refused:
    return Refused(store)


@pytest.fixture
def undertaker(jobs: JobStore, refused: Refused) -> Undertaker:
    return Undertaker(jobs, refused)


def record(jobs: JobStore) -> Job:
    job = jobs.get("job_1")
    assert job is not None
    return job


def start(jobs: JobStore) -> None:
    want = Want("job_1", MESSAGE.queue, False, "w/1")
    jobs.claim_all([want], device="cpu:0", losses_allowed=1, lost_error=b"{}")


def bury(undertaker: Undertaker, body: bytes = BODY, *, reason: str = "delivery_limit") -> None:
    # As after a crash between the store and the acknowledgement.
    for _ in range(2):
        undertaker.bury(body, queue=MESSAGE.queue, reason=reason)


def test_queued_job_fails_with_the_reason(undertaker: Undertaker, jobs: JobStore) -> None:
    jobs.create(MESSAGE.record(BODY, now_ms=1))
    bury(undertaker)
    job = record(jobs)
    assert job.status is Status.FAILED
    problem = json.loads(job.error or b"")
    assert (problem["code"], problem["detail"]) == (
        "attempts_exhausted", "the broker gave its message up: delivery limit",
    )  # fmt: skip
    assert jobs.counters()["failed"] == 1


def test_job_without_a_record_is_made_from_its_message_and_fails(undertaker: Undertaker, jobs: JobStore) -> None:
    bury(undertaker)
    job = record(jobs)
    assert (job.status, job.tenant, job.message, job.webhook) == (Status.FAILED, "acme", BODY, "job.completed")


def test_running_job_ends_only_where_its_own_message_was_given_up(undertaker: Undertaker, jobs: JobStore) -> None:
    jobs.create(MESSAGE.record(BODY, now_ms=1))
    start(jobs)
    bury(undertaker, reason="expired")
    assert record(jobs).status is Status.RUNNING, "that was a second message: the first is in a worker's hands"
    bury(undertaker, reason="delivery_limit")
    assert record(jobs).status is Status.FAILED


def test_job_that_ended_and_one_that_was_withdrawn_stay_as_they_are(undertaker: Undertaker, jobs: JobStore) -> None:
    jobs.create(MESSAGE.record(BODY, now_ms=1))
    jobs.cancel(record(jobs))
    bury(undertaker)
    assert record(jobs).status is Status.CANCELED
    other = msgspec.structs.replace(MESSAGE, id="job_2")
    jobs.create(other.record(other.encode(), now_ms=1))
    jobs.withdraw(other.record(other.encode(), now_ms=1))
    bury(undertaker, other.encode())
    assert jobs.get("job_2") is None


def test_message_that_is_no_job_is_noted_once_with_its_beginning(undertaker: Undertaker, refused: Refused) -> None:
    bury(undertaker, b"not json" + b"x" * 5000, reason="rejected")
    (seen,) = refused.newest(9)
    assert (seen.refusal.queue, seen.refusal.bytes, len(seen.refusal.begins)) == (MESSAGE.queue, 5008, 1024)
    assert seen.refusal.reason.startswith("given up by the broker (rejected); the message is not JSON")


def test_message_that_names_anothers_job_fails_nobody(undertaker: Undertaker, jobs: JobStore, refused: Refused) -> None:
    jobs.create(MESSAGE.record(BODY, now_ms=1))
    bury(undertaker, msgspec.structs.replace(MESSAGE, tenant="mallory").encode())
    assert record(jobs).status is Status.QUEUED
    assert "another's" in refused.newest(1)[0].refusal.reason


def test_only_the_newest_refused_messages_are_kept_and_all_are_counted(jobs: JobStore, store: "redis.Redis") -> None:
    ticks = iter(range(2000))
    refused = Refused(store, now_ms=lambda: next(ticks))
    for number in range(1010):
        refused.note(b"%d" % number, queue="q", reason="no job")
    assert len(refused.newest(2000)) == 1000
    assert refused.newest(1)[0].refusal.begins == "1009"
    assert jobs.counters()["refused_messages"] == 1010


@pytest.mark.parametrize(
    ("deaths", "told"),
    [
        ([{"queue": "q", "reason": "delivery_limit"}, {"queue": "p", "reason": "expired"}], ("q", "delivery_limit")),
        (None, ("penstock.dead", "pushed to the dead-letter queue")),
        ("nonsense", ("penstock.dead", "pushed to the dead-letter queue")),
    ],
)
def test_newest_death_is_the_cause(deaths: object, told: tuple[str, str]) -> None:
    assert cause(deaths) == told


def test_job_whose_record_was_lost_but_for_a_rest_is_made_and_fails(
    undertaker: Undertaker, jobs: JobStore, store: "redis.Redis"
) -> None:
    store.hset(keys.job("job_1"), "confirmed", "1")
    bury(undertaker)
    assert record(jobs).status is Status.FAILED
