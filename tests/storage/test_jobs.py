"""The job store against a real Valkey: every move of a record is one script that checks state and token."""

from typing import Any

import hypothesis.strategies as st
import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from errors import StoreUnavailable
from storage import keys
from storage.connection import connect
from storage.job import NEXT, Job, NewJob, Status
from storage.jobs import Claim, JobStore, Outcome, Return, Verdict, Want

QUEUE = "cpu.echo.1.normal"


class Clock:
    def __init__(self) -> None:
        self.ms = 1_000_000

    def __call__(self) -> int:
        return self.ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def jobs(store: "redis.Redis", clock: Clock) -> JobStore:
    return JobStore(store, now_ms=clock)


def new(id: str = "job_1", *, tenant: str = "acme", start_by_ms: int = 0) -> NewJob:
    return NewJob(
        id=id, tenant=tenant, queue=QUEUE, message=b"{}", created_ms=1_000_000, start_by_ms=start_by_ms, result_ttl_s=60
    )


def record(jobs: JobStore, id: str = "job_1") -> Job:
    job = jobs.get(id)
    assert job is not None
    return job


def claim(jobs: JobStore, id: str = "job_1", *, redelivered: bool = False, holder: str = "w/1") -> Claim:
    (answer,) = jobs.claim_all(
        [Want(id, QUEUE, redelivered, holder)], device="cpu:0", losses_allowed=2, lost_error=b'{"code":"worker_lost"}'
    )
    return answer


def finish(jobs: JobStore, token: int, id: str = "job_1", status: Status = Status.SUCCEEDED, **more: Any) -> str:
    (answer,) = jobs.finish_all([Outcome(id=id, queue=QUEUE, token=token, status=status, **more)])
    return answer


def test_job_runs_once_and_its_outcome_is_read_back(jobs: JobStore) -> None:
    jobs.create(new())
    claimed = claim(jobs)
    assert claimed == Claim(Verdict.RUN, 1)
    assert finish(jobs, 1, outputs=b'{"y":1}', compute_ms=2.5) == "succeeded"
    job = record(jobs)
    assert (job.status, job.outputs, job.compute_ms, job.attempt) == (Status.SUCCEEDED, b'{"y":1}', 2.5, 1)


def test_old_token_cannot_commit_after_a_takeover(jobs: JobStore) -> None:
    jobs.create(new())
    claim(jobs)
    taken_over = claim(jobs, redelivered=True, holder="w/2")
    assert taken_over.token == 2
    assert finish(jobs, 1, outputs=b"old") == "stale"
    assert finish(jobs, 2, outputs=b"new") == "succeeded"
    assert record(jobs).outputs == b"new"
    assert jobs.counters()["stale_commits"] == 1


def test_claim_and_commit_asked_again_by_their_holder_answer_alike(jobs: JobStore) -> None:
    jobs.create(new())
    assert claim(jobs) == claim(jobs)
    assert finish(jobs, 1) == finish(jobs, 1) == "succeeded"


def test_second_message_of_a_running_job_is_dropped(jobs: JobStore) -> None:
    jobs.create(new())
    claim(jobs)
    assert claim(jobs, holder="w/2").verdict is Verdict.DUPLICATE


def test_job_whose_workers_keep_dying_fails_in_the_end(jobs: JobStore, store: "redis.Redis") -> None:
    jobs.create(new())
    claim(jobs)
    store.set(keys.gone("w"), b"1")
    verdicts = [claim(jobs, redelivered=True, holder=f"w/{n}").verdict for n in range(2, 5)]
    assert verdicts == [Verdict.RUN, Verdict.RUN, Verdict.LOST]
    job = record(jobs)
    assert (job.status, job.error) == (Status.FAILED, b'{"code":"worker_lost"}')


def test_canceled_while_queued_is_never_run(jobs: JobStore) -> None:
    jobs.create(new())
    assert jobs.cancel(record(jobs)) is Status.CANCELED
    assert claim(jobs).verdict is Verdict.DONE


def test_cancel_of_a_running_job_wins_over_its_success(jobs: JobStore) -> None:
    jobs.create(new())
    claim(jobs)
    assert jobs.cancel(record(jobs)) is Status.RUNNING
    assert finish(jobs, 1, outputs=b"late") == "canceled"
    assert record(jobs).outputs is None


def test_job_not_started_in_time_expires_instead_of_running(jobs: JobStore, clock: Clock) -> None:
    jobs.create(new(start_by_ms=1_000_500))
    clock.ms += 501
    assert claim(jobs).verdict is Verdict.EXPIRED
    assert record(jobs).status is Status.EXPIRED


def test_retry_waits_until_the_relay_releases_it(jobs: JobStore, clock: Clock) -> None:
    jobs.create(new())
    claim(jobs)
    jobs.requeue_all([Return(id="job_1", queue=QUEUE, token=1, not_before_ms=clock.ms + 1000, failures=1)])
    assert claim(jobs, holder="w/2").verdict is Verdict.EARLY
    assert jobs.due(limit=10) == []
    clock.ms += 1000
    assert [due.member for due in jobs.due(limit=10)] == ["retry:job_1"]
    assert jobs.release("job_1") == (QUEUE, b"{}")
    assert claim(jobs, holder="w/3") == Claim(Verdict.RUN, 2, 1)


def test_same_idempotency_key_makes_one_job(jobs: JobStore) -> None:
    first = jobs.create(new("job_1"), idempotency_key="k", body="digest")
    again = jobs.create(new("job_2"), idempotency_key="k", body="digest")
    other_body = jobs.create(new("job_3"), idempotency_key="k", body="other")
    other_tenant = jobs.create(new("job_4", tenant="beta"), idempotency_key="k", body="other")
    assert [c.verdict for c in (first, again, other_body, other_tenant)] == ["created", "same", "mismatch", "created"]
    assert again.detail == "job_1"
    assert jobs.get("job_2") is None


def test_withdrawn_submission_is_unseen_and_its_message_dropped(jobs: JobStore) -> None:
    jobs.create(new(), idempotency_key="k", body="digest")
    assert jobs.withdraw(new()) is Status.WITHDRAWN
    assert jobs.get("job_1") is None
    assert claim(jobs).verdict is Verdict.DONE
    assert jobs.page("acme", limit=10).jobs == []
    assert jobs.create(new("job_2"), idempotency_key="k", body="digest").verdict == "created"


def test_withdraw_comes_too_late_once_a_worker_has_the_job(jobs: JobStore) -> None:
    jobs.create(new())
    claim(jobs)
    assert jobs.withdraw(new()) is Status.RUNNING


def test_full_queue_refuses_without_leaving_a_trace(jobs: JobStore) -> None:
    jobs.create(new("job_1"), queue_limit=1)
    assert jobs.create(new("job_2"), queue_limit=1) == ("full", "1")
    assert jobs.get("job_2") is None


def test_listing_walks_newest_first_in_pages_and_sees_one_tenant(jobs: JobStore) -> None:
    for n in range(5):
        jobs.create(new(f"job_{n}"))
    jobs.create(new("job_9", tenant="beta"))
    first = jobs.page("acme", limit=3)
    second = jobs.page("acme", after=first.cursor, limit=3)
    assert [job.id for job in first.jobs] == ["job_4", "job_3", "job_2"]
    assert [job.id for job in second.jobs] == ["job_1", "job_0"]
    assert second.cursor == ""


def test_result_is_erased_after_its_time_and_leaves_a_tombstone(jobs: JobStore, clock: Clock) -> None:
    jobs.create(new())
    claim(jobs)
    finish(jobs, 1, outputs=b"y")
    assert jobs.erase(record(jobs), reason="expired") == "kept"
    clock.ms += 60_000
    assert [due.member for due in jobs.due(limit=1)] == ["erase:job_1"]
    assert jobs.erase(record(jobs), reason="expired") == "succeeded"
    job = record(jobs)
    assert (job.erased, job.outputs, job.message) == ("expired", None, b"")


def test_explicit_retry_runs_again_under_the_same_id(jobs: JobStore, clock: Clock) -> None:
    jobs.create(new())
    claim(jobs)
    finish(jobs, 1, status=Status.FAILED, error=b"{}")
    assert jobs.retry(record(jobs), start_by_ms=0) == "failed"
    assert [due.member for due in jobs.due(limit=9)] == ["retry:job_1"]
    jobs.release("job_1")
    assert claim(jobs, holder="w/9").token == 2
    assert finish(jobs, 2) == "succeeded"
    assert jobs.retry(record(jobs), start_by_ms=0) == "succeeded"


def test_store_that_is_away_is_said_so_within_seconds() -> None:
    jobs = JobStore(connect("redis://127.0.0.1:1/0"))
    with pytest.raises(StoreUnavailable, match="does not answer"):
        jobs.get("job_1")


def test_script_cache_lost_at_a_restart_is_filled_again(jobs: JobStore, store: "redis.Redis") -> None:
    jobs.create(new("job_1"))
    store.script_flush()
    assert [c.verdict for c in jobs.create_all([(new("job_2"), 0), (new("job_3"), 0)])] == ["created", "created"]


class JobLife(RuleBasedStateMachine):
    """Whatever clients, workers, the relay and time do to one job, in any order."""

    client: "redis.Redis"

    @initialize(start_by=st.sampled_from([0, 1_000_050]))
    def submit(self, start_by: int) -> None:
        self.client.flushall()
        self.clock = Clock()
        self.jobs = JobStore(self.client, now_ms=self.clock)
        self.jobs.create(new(start_by_ms=start_by))
        self.tokens: list[int] = []
        self.last = Status.QUEUED
        self.outcome: bytes | None = None
        self.cancel_heard = False
        self.deliveries = 0

    def job(self) -> Job:
        return record(self.jobs)

    @rule(redelivered=st.booleans())
    def deliver(self, redelivered: bool) -> None:
        self.deliveries += 1
        answer = claim(self.jobs, redelivered=redelivered, holder=f"w/{self.deliveries}")
        if answer.verdict is Verdict.RUN:
            assert all(answer.token > token for token in self.tokens), "tokens rise"
            self.tokens.append(answer.token)

    @precondition(lambda self: self.tokens)
    @rule(data=st.data(), good=st.booleans())
    def commit(self, data: st.DataObject, good: bool) -> None:
        token = data.draw(st.sampled_from(self.tokens))
        before = self.job()
        more: dict[str, Any] = {"outputs": b"%d" % token} if good else {"error": b"{}"}
        status = Status.SUCCEEDED if good else Status.FAILED
        answer = finish(self.jobs, token, status=status, **more)
        if before.status is Status.RUNNING and before.attempt == token:
            assert answer == ("canceled" if self.cancel_heard else status)
        else:
            assert answer == "stale" or answer == before.status

    @precondition(lambda self: self.tokens)
    @rule(data=st.data(), delay_ms=st.sampled_from([0, 30]))
    def give_back(self, data: st.DataObject, delay_ms: int) -> None:
        token = data.draw(st.sampled_from(self.tokens))
        at = self.clock.ms + delay_ms if delay_ms else 0
        self.jobs.requeue_all([Return(id="job_1", queue=QUEUE, token=token, not_before_ms=at)])

    @rule()
    def cancel(self) -> None:
        before = self.job().status
        after = self.jobs.cancel(self.job())
        if before in (Status.QUEUED, Status.RUNNING):
            self.cancel_heard = True
            assert after in (Status.CANCELED, Status.RUNNING)
        else:
            assert after is before

    @rule()
    def relay_releases(self) -> None:
        self.jobs.release("job_1")

    @rule(ms=st.integers(1, 60))
    def time_passes(self, ms: int) -> None:
        self.clock.ms += ms
        self.jobs.expire(self.job())

    @rule()
    def client_retries(self) -> None:
        before = self.job().status
        self.jobs.retry(self.job(), start_by_ms=0)
        if before in (Status.FAILED, Status.CANCELED, Status.EXPIRED):
            assert self.job().status is Status.QUEUED
            self.cancel_heard, self.outcome, self.last = False, None, Status.QUEUED

    @invariant()
    def moves_are_legal_and_books_agree(self) -> None:
        if not hasattr(self, "jobs"):
            return
        job = self.job()
        if job.status is not self.last:
            reachable = NEXT[self.last] | {s for step in NEXT[self.last] if step is Status.RUNNING for s in NEXT[step]}
            assert job.status in reachable, f"{self.last} -> {job.status}"
        self.last = job.status
        assert not (self.cancel_heard and job.status is Status.SUCCEEDED), "a cancel heard is never followed by success"
        waits = self.client.zscore(keys.waiting(QUEUE), "job_1") is not None
        assert waits == (job.status is Status.QUEUED)
        assert self.jobs.in_flight("acme") == (job.status in (Status.QUEUED, Status.RUNNING))
        dead = self.client.zscore(keys.failed_jobs("acme"), "job_1") is not None
        assert dead == (job.status is Status.FAILED)
        if job.terminal:
            assert self.outcome in (None, job.outputs), "one outcome"
            self.outcome = job.outputs
            assert self.client.ttl(keys.job("job_1")) > 0


def test_any_order_of_events_keeps_the_record_lawful(store: "redis.Redis") -> None:
    machine = type("Bound", (JobLife,), {"client": store})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_confirming_a_record_that_was_lost_leaves_nothing_behind(jobs: JobStore, store: "redis.Redis") -> None:
    jobs.create(new("job_1"))
    jobs.confirm("job_1", *(f"lost_{number}" for number in range(600)))
    assert jobs.confirmed("job_1")
    assert list(store.scan_iter(keys.job("*"))) == [keys.job("job_1").encode()]


def test_what_is_no_record_is_made_anew(jobs: JobStore, store: "redis.Redis") -> None:
    store.hset(keys.job("job_1"), mapping={"confirmed": "1", "attempt": "7"})
    assert claim(jobs).verdict is Verdict.MISSING
    assert jobs.create(new("job_1")).verdict == "created"
    assert claim(jobs) == Claim(Verdict.RUN, 1)
    assert jobs.create(new("job_1")).verdict == "exists"
