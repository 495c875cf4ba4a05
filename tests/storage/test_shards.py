"""A scoring's shards are jobs that nobody sees: no list, no quota, no webhook, no dead letter; their end is told to the
scoring."""

import msgspec
import pytest

from storage import keys
from storage.connection import Client
from storage.driven import SHARDS, Hold, take
from storage.job import Job, NewJob, Status
from storage.jobs import Held, JobStore, Outcome, Return, Verdict, Want
from storage.scorings import Scorings
from tests.storage.test_scorings import spec

QUEUE = "cpu.mlp.1.low"
ID = "scr_1-00000000"


@pytest.fixture
def jobs(store: Client) -> JobStore:
    return JobStore(store, now_ms=lambda: 1_000_000)


@pytest.fixture
def hold(store: Client) -> Hold:
    """A scoring that is driven and waits for shard 0."""
    scorings = Scorings(store, now_ms=lambda: 1_000_000)
    scorings.create(spec())
    hold = take(scorings)
    assert hold is not None
    hold.note(commands=[("HSET", SHARDS, 0, b"{}")])
    return hold


def new(id: str = ID, **more: object) -> NewJob:
    made = NewJob(
        id=id, tenant="acme", queue=QUEUE, message=b"{}", created_ms=1, start_by_ms=0, result_ttl_s=60, scoring="scr_1"
    )
    return msgspec.structs.replace(made, **more)


def claim(jobs: JobStore, id: str = ID, *, redelivered: bool = False, holder: str = "w/1") -> tuple[Verdict, int]:
    want = Want(id, QUEUE, redelivered, holder)
    (answer,) = jobs.claim_all([want], device="cpu:0", losses_allowed=2, lost_error=b"{}")
    return answer.verdict, answer.token


def finish(jobs: JobStore, token: int, status: Status = Status.SUCCEEDED, id: str = ID) -> str:
    one = Outcome(id=id, queue=QUEUE, token=token, status=status, outputs=b'{"rows":1}', error=b"{}")
    return jobs.finish_all([one])[0]


def record(jobs: JobStore, id: str = ID) -> Job:
    job = jobs.get(id)
    assert job is not None
    return job


def test_end_is_told_to_the_scoring_and_to_nobody_else(jobs: JobStore, hold: Hold, store: Client) -> None:
    store.hset(keys.SUBSCRIBERS, "acme", "job.started job.completed")
    heard = store.pubsub()
    heard.subscribe(keys.scoring_ended("scr_1"), keys.DONE)
    assert jobs.create(new()).verdict == "created"
    assert claim(jobs) == (Verdict.RUN, 1)
    assert finish(jobs, 1) == "succeeded"
    assert hold.news()[1] == {ID}
    told = [one for one in iter(lambda: heard.get_message(timeout=0.2), None) if one["type"] == "message"]
    assert [(one["channel"], one["data"]) for one in told] == [(keys.scoring_ended("scr_1").encode(), ID.encode())]
    assert jobs.page("acme", limit=9).jobs == []
    assert (jobs.in_flight("acme"), jobs.counters(), store.zcard(keys.OUTBOX)) == (0, {}, 0)
    assert jobs.due(limit=9) == []
    assert record(jobs).outputs == b'{"rows":1}'
    jobs.forget(ID)
    assert jobs.get(ID) is None


def test_failed_shard_is_no_dead_letter_and_cannot_be_retried(jobs: JobStore, hold: Hold, store: Client) -> None:
    jobs.create(new())
    claim(jobs)
    assert finish(jobs, 1, Status.FAILED) == "failed"
    assert (store.exists(keys.failed_jobs("acme")), hold.news()[1]) == (0, {ID})
    assert jobs.retry(record(jobs), start_by_ms=0) == "missing"
    assert record(jobs).status is Status.FAILED


def test_shard_counts_for_no_quota_beside_jobs_that_do(jobs: JobStore, hold: Hold) -> None:
    made = jobs.create_all(
        [(new(), 0), (new("job_1", scoring=""), 0), (new("job_2", scoring=""), 0)], in_flight={"acme": 1}
    )
    assert [one.verdict for one in made] == ["created", "created", "quota"]
    assert jobs.in_flight("acme") == 1
    assert [job.id for job in jobs.page("acme", limit=9).jobs] == ["job_1"]


@pytest.mark.parametrize(
    "wrong", [{"id": "scr_1-00000007"}, {"id": "job_1"}, {"tenant": "beta"}, {"scoring": "scr_9"}, {"id": "x-00000000"}]
)
def test_message_of_a_shard_that_no_scoring_waits_for_is_dropped(
    jobs: JobStore, hold: Hold, wrong: dict[str, str]
) -> None:
    one = new(**wrong)
    assert jobs.create(one).verdict == "exists"
    assert jobs.get(one.id) is None
    assert claim(jobs, one.id) == (Verdict.DONE, 0)
    assert jobs.depths([QUEUE]) == [0]


def test_twin_of_a_shard_is_a_job_of_its_own(jobs: JobStore, hold: Hold) -> None:
    assert [jobs.create(new(id)).verdict for id in (ID, ID + "b")] == ["created", "created"]
    claim(jobs)
    assert jobs.cancel(record(jobs)) is Status.RUNNING
    assert jobs.cancel(record(jobs, ID + "b")) is Status.CANCELED
    assert finish(jobs, 1) == "canceled"
    assert hold.news()[1] == {ID, ID + "b"}


def test_shard_is_taken_over_given_back_and_revived_as_any_job(jobs: JobStore, hold: Hold, store: Client) -> None:
    jobs.create(new())
    claim(jobs)
    assert claim(jobs, redelivered=True, holder="v/1") == (Verdict.RUN, 2)
    assert finish(jobs, 1) == "stale"
    assert jobs.requeue_all([Return(id=ID, queue=QUEUE, token=2)]) == ["queued"]
    assert claim(jobs, holder="u/1") == (Verdict.RUN, 3)
    assert jobs.running(0, count=99)[1] == [Held(ID, "u/1", 1_000_000)]
    assert jobs.revive(Held(ID, "u/1", 1_000_000)) == (QUEUE, b"{}")
    assert jobs.overdue(QUEUE, since_ms=1_000_001, limit=9) == [ID]
    assert hold.news()[1] == set()


def test_end_that_comes_after_the_scorings_own_is_kept_nowhere(jobs: JobStore, hold: Hold, store: Client) -> None:
    jobs.create(new())
    claim(jobs)
    store.hset(keys.scoring("scr_1"), "ended_ms", 5)
    assert finish(jobs, 1) == "succeeded"
    assert (hold.news()[1], store.ttl(keys.job(ID)) > 0) == (set(), True)
