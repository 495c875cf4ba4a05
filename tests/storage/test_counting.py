"""What is kept beside a tenant's jobs: how many are in flight, which failed, what a retried one went through."""

import json

import pytest
import redis

from storage import keys
from storage.job import Job, NewJob, Status
from storage.jobs import JobStore, Outcome, Want

QUEUE = "cpu.echo.1.normal"


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


def new(id: str = "job_1", *, tenant: str = "acme") -> NewJob:
    return NewJob(
        id=id, tenant=tenant, queue=QUEUE, message=b"{}", created_ms=1_000_000, start_by_ms=0, result_ttl_s=60
    )


def record(jobs: JobStore, id: str = "job_1") -> Job:
    job = jobs.get(id)
    assert job is not None
    return job


def claim(jobs: JobStore, id: str = "job_1") -> int:
    want = Want(id, QUEUE, False, f"w/{jobs.now_ms()}")
    (answer,) = jobs.claim_all([want], device="cpu:0", losses_allowed=1, lost_error=b"{}")
    return answer.token


def end(jobs: JobStore, id: str = "job_1", *, code: str = "") -> None:
    status = Status.FAILED if code else Status.SUCCEEDED
    error = json.dumps({"code": code}).encode()
    jobs.finish_all([Outcome(id=id, queue=QUEUE, token=claim(jobs, id), status=status, error=error)])


def test_in_flight_counts_what_is_queued_or_running_of_each_tenant(jobs: JobStore) -> None:
    jobs.create_all([(new("job_1"), 0), (new("job_2"), 0), (new("job_3", tenant="beta"), 0)])
    jobs.withdraw(new("job_2"))
    claim(jobs)
    assert (jobs.in_flight("acme"), jobs.in_flight("beta")) == (1, 1)
    jobs.cancel(record(jobs, "job_3"))
    end(jobs)
    assert (jobs.in_flight("acme"), jobs.in_flight("beta")) == (0, 0)


def test_limit_of_jobs_in_flight_is_exact_in_one_call_and_over_many(jobs: JobStore) -> None:
    most = {"acme": 3}
    first = jobs.create_all([(new(f"job_{n}"), 0) for n in range(5)], in_flight=most)
    assert [(one.verdict, one.detail) for one in first[3:]] == [("quota", "3")] * 2
    assert jobs.get("job_3") is None
    claim(jobs, "job_0")
    assert jobs.create_all([(new("job_5"), 0)], in_flight=most)[0].verdict == "quota"
    end(jobs, "job_1")
    again = jobs.create_all([(new("job_6"), 0), (new("job_7", tenant="beta"), 0)], in_flight=most)
    assert [one.verdict for one in again] == ["created", "created"]


def test_record_from_before_there_were_counters_is_never_counted_below_zero(
    jobs: JobStore, store: "redis.Redis"
) -> None:
    jobs.create(new())
    store.hdel(keys.job("job_1"), "counted")
    store.delete(keys.IN_FLIGHT)
    end(jobs, code="model_error")
    assert jobs.in_flight("acme") == 0
    jobs.retry(record(jobs), start_by_ms=0)
    assert jobs.in_flight("acme") == 1
    jobs.cancel(record(jobs))
    assert jobs.in_flight("acme") == 0


def test_retried_job_remembers_its_last_five_errors(jobs: JobStore, clock: Clock) -> None:
    jobs.create(new())
    for number in range(7):
        clock.ms += 1
        end(jobs, code=f"error_{number}")
        jobs.retry(record(jobs), start_by_ms=0)
        jobs.release("job_1")
    job = record(jobs)
    assert job.replays == 7
    former = json.loads(job.history)
    assert [one["code"] for one in former] == [f"error_{number}" for number in range(2, 7)]
    assert former[-1] == {"attempt": 7, "at_ms": clock.ms, "code": "error_6"}


def test_error_that_is_no_problem_document_is_remembered_as_unknown(jobs: JobStore) -> None:
    jobs.create(new())
    jobs.finish_all([Outcome(id="job_1", queue=QUEUE, token=claim(jobs), status=Status.FAILED, error=b"\xff")])
    assert jobs.retry(record(jobs), start_by_ms=0) == "failed"
    assert json.loads(record(jobs).history)[0]["code"] == "unknown"


def test_erased_job_is_no_dead_letter(jobs: JobStore, store: "redis.Redis") -> None:
    jobs.create(new())
    end(jobs, code="model_error")
    assert store.zcard(keys.failed_jobs("acme")) == 1
    jobs.erase(record(jobs), reason="deleted")
    assert store.zcard(keys.failed_jobs("acme")) == 0


def test_job_that_nothing_can_run_fails_and_a_running_one_only_when_asked(jobs: JobStore) -> None:
    jobs.create(new())
    claim(jobs)
    assert jobs.fail(record(jobs), b'{"code":"attempts_exhausted"}') is Status.RUNNING
    assert jobs.fail(record(jobs), b'{"code":"attempts_exhausted"}', running=True) is Status.FAILED
    assert jobs.fail(record(jobs), b"{}", running=True) is Status.FAILED
    assert (record(jobs).error, jobs.in_flight("acme")) == (b'{"code":"attempts_exhausted"}', 0)
