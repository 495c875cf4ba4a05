"""Outputs that no record points at are erased, and the winner's never."""

import threading

import msgspec
import pytest
import redis

from storage.job import Status
from storage.jobs import Claim, JobStore, Verdict, Want
from tasks.message import VERSION, Message
from workers import wire
from workers.commit import Committer

MESSAGE = Message(v=VERSION, id="job_1", model="echo", version="1", inputs=msgspec.Raw(b"{}"), tenant="acme")


@pytest.fixture
def jobs(store: "redis.Redis") -> JobStore:
    jobs = JobStore(store)
    jobs.create(MESSAGE.record(MESSAGE.encode(), now_ms=jobs.now_ms()))
    return jobs


def claim(jobs: JobStore, holder: str) -> Claim:
    want = Want("job_1", MESSAGE.queue, holder != "w1/1", holder)
    (answer,) = jobs.claim_all([want], device="cpu:0", losses_allowed=9, lost_error=b"{}")
    assert answer.verdict is Verdict.RUN
    return answer


def commit(jobs: JobStore, claim: Claim, key: str) -> None:
    result = wire.Result(outputs_key=key)
    Committer(jobs, threading.Event()).commit([(MESSAGE, claim)], [result], compute_ms=1.0)


def erased(jobs: JobStore) -> list[str]:
    return [due.member for due in jobs.due(limit=9) if due.member.startswith("object:")]


def test_outputs_of_a_refused_commit_are_erased_and_the_winners_stay(jobs: JobStore) -> None:
    first, second = claim(jobs, "w1/1"), claim(jobs, "w2/1")
    commit(jobs, second, "acme/jobs/job_1/out/2-b")
    commit(jobs, first, "acme/jobs/job_1/out/1-a")
    assert erased(jobs) == ["object:acme/jobs/job_1/out/1-a"]
    job = jobs.get("job_1")
    assert job is not None
    assert (job.status, job.outputs_key) == (Status.SUCCEEDED, "acme/jobs/job_1/out/2-b")


def test_commit_asked_again_after_a_lost_answer_erases_nothing(jobs: JobStore) -> None:
    ours = claim(jobs, "w1/1")
    commit(jobs, ours, "acme/jobs/job_1/out/1-a")
    commit(jobs, ours, "acme/jobs/job_1/out/1-a")
    assert erased(jobs) == []


def test_outputs_of_a_job_that_was_canceled_meanwhile_are_erased(jobs: JobStore) -> None:
    ours = claim(jobs, "w1/1")
    job = jobs.get("job_1")
    assert job is not None
    jobs.cancel(job)
    commit(jobs, ours, "acme/jobs/job_1/out/1-a")
    assert erased(jobs) == ["object:acme/jobs/job_1/out/1-a"]


def test_outputs_of_a_job_without_a_record_are_erased(jobs: JobStore, store: "redis.Redis") -> None:
    ours = claim(jobs, "w1/1")
    store.delete("penstock:job:job_1")
    commit(jobs, ours, "acme/jobs/job_1/out/1-a")
    assert erased(jobs) == ["object:acme/jobs/job_1/out/1-a"]


def test_job_that_the_worker_cannot_handle_fails_instead_of_running_for_ever(jobs: JobStore) -> None:
    Committer(jobs, threading.Event()).drop(MESSAGE, claim(jobs, "w1/1"))
    job = jobs.get("job_1")
    assert job is not None
    assert (job.status, b"model_error" in (job.error or b"")) == (Status.FAILED, True)
