"""Who pays when a running job's message comes again: only a worker that is gone is a loss, and only alone it counts."""

import pytest
import redis

from storage import keys
from storage.job import Job, NewJob, Status
from storage.jobs import Claim, JobStore, Verdict, Want

QUEUE = "cpu.echo.1.normal"
ALLOWED = 2


@pytest.fixture
def jobs(store: "redis.Redis") -> JobStore:
    jobs = JobStore(store)
    jobs.create_all([(new(f"job_{n}"), 0) for n in range(4)])
    return jobs


def new(id: str) -> NewJob:
    return NewJob(id=id, tenant="acme", queue=QUEUE, message=b"{}", created_ms=1, start_by_ms=0, result_ttl_s=60)


def record(jobs: JobStore, id: str) -> Job:
    job = jobs.get(id)
    assert job is not None
    return job


def claim(jobs: JobStore, worker: str, *ids: str) -> list[Claim]:
    wants = [Want(id, QUEUE, True, f"{worker}/{id}") for id in ids]
    return jobs.claim_all(wants, device="cpu:0", losses_allowed=ALLOWED, lost_error=b'{"code":"worker_lost"}')


def die(store: "redis.Redis", worker: str) -> None:
    store.set(keys.gone(worker), b"1")


def test_job_taken_over_from_living_workers_never_fails_of_it(jobs: JobStore) -> None:
    answers = [claim(jobs, f"w{n}", "job_0")[0] for n in range(20)]
    assert {answer.verdict for answer in answers} == {Verdict.RUN}
    job = record(jobs, "job_0")
    assert (job.losses, job.interruptions, job.attempt) == (0, 19, 20)


def test_batch_that_dies_with_its_workers_again_and_again_fails_nobody(jobs: JobStore, store: "redis.Redis") -> None:
    ids = ["job_0", "job_1", "job_2"]
    for number in range(2):
        claim(jobs, f"w{number}", *ids)
        die(store, f"w{number}")
    answers = claim(jobs, "w9", *ids)
    assert [(one.verdict, one.alone) for one in answers] == [(Verdict.RUN, True)] * 3, "from now on each runs alone"
    assert {record(jobs, id).losses for id in ids} == {2}
    assert {record(jobs, id).batch_size for id in ids} == {1}


def test_job_that_takes_its_workers_down_alone_fails_and_its_neighbours_do_not(
    jobs: JobStore, store: "redis.Redis"
) -> None:
    claim(jobs, "w0", "job_0", "job_1")
    die(store, "w0")
    claim(jobs, "w1", "job_0", "job_1")
    die(store, "w1")
    verdicts = []
    for number in range(2, 6):
        verdicts.append(claim(jobs, f"w{number}", "job_0")[0].verdict)
        die(store, f"w{number}")
    assert verdicts == [Verdict.RUN, Verdict.RUN, Verdict.RUN, Verdict.LOST], "two were lost in company, three alone"
    assert record(jobs, "job_0").status is Status.FAILED
    assert claim(jobs, "w9", "job_1")[0].verdict is Verdict.RUN


def test_losses_are_summed_up_for_the_metrics(jobs: JobStore, store: "redis.Redis") -> None:
    claim(jobs, "w0", "job_0", "job_1")
    die(store, "w0")
    claim(jobs, "w1", "job_0", "job_1")
    assert jobs.counters()["worker_losses"] == 2
