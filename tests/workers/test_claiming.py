"""Claiming: a message whose record is gone makes it anew, and is not settled before there is one."""

import threading
from collections.abc import Sequence
from typing import cast

import msgspec
import pytest
import redis

from storage import keys
from storage.job import Status
from storage.jobs import Claim, JobStore, Verdict, Want
from tasks.message import VERSION, Message
from workers.claiming import Claimer
from workers.commit import Committer, Stopped
from workers.hands import Hands
from workers.lane import Delivery, Lane

MESSAGE = Message(v=VERSION, id="job_1", model="echo", version="1", inputs=msgspec.Raw(b"{}"), tenant="acme")


class AnyLane:
    queue, consumer = MESSAGE.queue, "w/1"

    def __init__(self) -> None:
        self.settled: list[object] = []

    def settle(self, *tags: object) -> None:
        self.settled.extend(tags)


class Forgetful(JobStore):
    """A store that loses what it was just told, `times` times."""

    times = 1

    def claim_all(self, wants: Sequence[Want], *, device: str, losses_allowed: int, lost_error: bytes) -> list[Claim]:
        if self.times:
            self.times -= 1
            self._client.flushall()
        return super().claim_all(wants, device=device, losses_allowed=losses_allowed, lost_error=lost_error)


@pytest.fixture
def lane() -> AnyLane:
    return AnyLane()


@pytest.fixture
def delivery(lane: AnyLane) -> Delivery:
    return Delivery(cast(Lane, lane), 1, MESSAGE.encode(), MESSAGE, redelivered=False)


def claimer(jobs: JobStore, stopping: threading.Event) -> Claimer:
    return Claimer(jobs, Committer(jobs, stopping), Hands(), device="cpu:0")


def test_rest_of_a_lost_record_does_not_keep_its_job_from_running(
    store: "redis.Redis", lane: AnyLane, delivery: Delivery
) -> None:
    jobs = JobStore(store)
    store.hset(keys.job("job_1"), "confirmed", "1")
    assert claimer(jobs, threading.Event()).claim([delivery]) == [delivery]
    job = jobs.get("job_1")
    assert job is not None
    assert (job.status, job.tenant, lane.settled) == (Status.RUNNING, "acme", [])


def test_record_lost_again_as_soon_as_it_was_made_is_made_once_more(
    store: "redis.Redis", lane: AnyLane, delivery: Delivery, caplog: pytest.LogCaptureFixture
) -> None:
    jobs = Forgetful(store)
    jobs.times = 2
    assert claimer(jobs, threading.Event()).claim([delivery]) == [delivery]
    assert delivery.claim is not None
    assert (delivery.claim.verdict, lane.settled) == (Verdict.RUN, [])
    assert "was lost as soon as it was made" in str([vars(one).get("reason") for one in caplog.records])


def test_message_without_a_record_is_never_settled(store: "redis.Redis", lane: AnyLane, delivery: Delivery) -> None:
    jobs, stopping = Forgetful(store), threading.Event()
    jobs.times = 1000
    stopping.set()
    with pytest.raises(Stopped):
        claimer(jobs, stopping).claim([delivery])
    assert lane.settled == []
