from datetime import UTC, datetime

import pytest
from penstock import (
    InvalidInput,
    InvalidJobInput,
    Job,
    JobCanceled,
    JobFailure,
    ModelError,
    Penstock,
    QueueFull,
    ResultExpired,
    StillRunning,
    UnexpectedAnswer,
)

from tests.client.conftest import Clock
from tests.client.desk import Desk, job, problem


def test_a_job_object_is_read_with_its_times_and_parts() -> None:
    read = Job.parse(job("succeeded", novelty="of a newer gateway"))
    assert read.created_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert (read.metrics.batch_size, read.metrics.device) == (4, "cpu:0")
    assert read.raw["novelty"] == "of a newer gateway"
    assert read.done
    assert Job.parse(job()).queue is not None


def test_a_job_object_may_lack_all_but_its_name() -> None:
    read = Job.parse({"id": "job_1", "model": "m", "status": "running", "metrics": None})
    assert (read.done, read.outputs, read.metrics.batch_size) == (False, None, 0)


def test_only_what_was_said_is_sent(desk: Desk, client: Penstock) -> None:
    desk.say(job(), 202)
    client.jobs.submit("echo", {"x": (1, 2)})
    assert desk.seen[0].json() == {"model": "echo", "inputs": {"x": [1, 2]}, "priority": "normal"}
    assert "prefer" not in desk.seen[0].headers


def test_all_that_was_said_is_sent(desk: Desk, client: Penstock) -> None:
    desk.say(job(), 202)
    client.jobs.submit(
        "echo",
        {"x": 1},
        version="2",
        parameters={"top": 3},
        priority="high",
        queue_ttl_s=5,
        timeout_s=6,
        deadline=datetime(2026, 1, 1, tzinfo=UTC),
        max_attempts=2,
        result_ttl_s=60,
        metadata={"order": "A-17"},
        webhook="https://erp.example/hook",
        idempotency_key="mine",
    )
    body = desk.seen[0].json()
    assert datetime.fromisoformat(body.pop("deadline")) == datetime(2026, 1, 1, tzinfo=UTC)
    assert body == {
        "model": "echo",
        "inputs": {"x": 1},
        "version": "2",
        "parameters": {"top": 3},
        "priority": "high",
        "queue_ttl_s": 5,
        "timeout_s": 6,
        "max_attempts": 2,
        "result_ttl_s": 60,
        "metadata": {"order": "A-17"},
        "webhook": {"url": "https://erp.example/hook"},
    }
    assert desk.seen[0].headers["idempotency-key"] == "mine"


def test_nan_is_refused_before_it_is_sent(desk: Desk, client: Penstock) -> None:
    with pytest.raises(InvalidInput, match="JSON"):
        client.jobs.submit("echo", {"x": float("nan")})
    assert desk.seen == []


def test_a_submit_that_waits_prefers_so_and_then_polls_long(desk: Desk, client: Penstock, clock: Clock) -> None:
    desk.say(job(), 202).say(job("running")).say(job("succeeded"))
    done = client.jobs.submit("echo", {"x": 1}, wait_s=100)
    assert done.outputs == {"x": [1, 2]}
    assert desk.seen[0].headers["prefer"] == "wait=30"
    assert [seen.query for seen in desk.seen[1:]] == [{"wait": "30.000"}, {"wait": "30.000"}]


def test_long_polls_that_are_answered_early_are_not_repeated_at_once(
    desk: Desk, client: Penstock, clock: Clock
) -> None:
    desk.say(job(), Retry_After="2").say(job("running")).say(job("succeeded"))
    client.jobs.wait("job_01J")
    assert clock.pauses == [2.0, 1.0]


def test_waiting_outlives_a_restart_of_the_gateway(desk: Desk, client: Penstock, clock: Clock) -> None:
    desk.say(job())
    for _ in range(12):
        desk.say(b"", 503)
    desk.say(job("succeeded"))
    assert client.jobs.wait("job_01J").status == "succeeded"
    assert clock.now > 20  # longer than a single request is repeated


def test_a_wait_that_runs_out_says_so(desk: Desk, client: Penstock, clock: Clock) -> None:
    desk.say(job())
    with pytest.raises(StillRunning, match="job_01J is queued after 5 s"):
        client.jobs.wait("job_01J", timeout_s=5)
    assert clock.now == 5
    assert len(desk.seen) <= 6
    assert issubclass(StillRunning, TimeoutError)


def test_get_with_a_wait_returns_the_job_as_it_is_then(desk: Desk, client: Penstock) -> None:
    desk.say(job("running"))
    assert client.jobs.get("job_01J", wait_s=2).status == "running"


def test_run_returns_the_outputs(desk: Desk, client: Penstock) -> None:
    desk.say(job("succeeded"))
    assert client.run("echo", {"x": [1, 2]}, priority="low") == {"x": [1, 2]}


def test_run_fetches_outputs_that_are_too_large_for_the_job(desk: Desk, client: Penstock) -> None:
    desk.say(job("succeeded", outputs=None)).say(b"", 303, Location="/elsewhere").say({"x": [3]})
    assert client.run("echo", {"x": [1, 2]}) == {"x": [3]}
    assert [seen.path for seen in desk.seen] == ["/v1/jobs", "/v1/jobs/job_01J/result", "/elsewhere"]


def test_the_key_does_not_follow_a_result_to_another_server(desk: Desk, client: Penstock) -> None:
    store = Desk().say({"x": [3]})
    try:
        desk.say(b"", 303, Location=store.url + "/bucket/key?signature=s")
        assert client.jobs.result("job_01J") == {"x": [3]}
        assert "authorization" not in store.seen[0].headers
    finally:
        store.close()


def test_run_raises_the_failure_of_the_job(desk: Desk, client: Penstock) -> None:
    desk.say(job("failed", error=problem("model_error", 500, "boom")))
    with pytest.raises(ModelError, match="boom") as caught:
        client.run("echo", {"x": 1})
    assert caught.value.job_id == "job_01J"


def test_run_tells_that_the_wait_ran_out(desk: Desk, client: Penstock, clock: Clock) -> None:
    desk.say(job())
    with pytest.raises(StillRunning):
        client.run("echo", {"x": 1}, wait_s=3)


def test_a_canceled_job_raises_as_canceled_and_a_live_one_not() -> None:
    with pytest.raises(JobCanceled):
        Job.parse(job("canceled")).raise_for_failure()
    Job.parse(job("running")).raise_for_failure()
    Job.parse(job("succeeded")).raise_for_failure()


@pytest.mark.parametrize(
    ("code", "status", "cls"),
    [("model_error", 500, ModelError), ("invalid_input", 422, InvalidJobInput), ("already_terminal", 409, JobCanceled)],
)
def test_the_result_of_a_failed_job_is_its_failure(
    desk: Desk, client: Penstock, code: str, status: int, cls: type[JobFailure]
) -> None:
    desk.say(problem(code, status, "boom"), status)
    with pytest.raises(JobFailure, match="boom") as caught:
        client.jobs.result("job_01J")
    assert type(caught.value) is cls
    assert len(desk.seen) == 1


def test_a_result_that_is_gone_says_so(desk: Desk, client: Penstock) -> None:
    desk.say(problem("result_expired", 410), 410)
    with pytest.raises(ResultExpired):
        client.jobs.result(Job.parse(job("succeeded")))


def test_many_submissions_have_an_outcome_each_in_order(desk: Desk, client: Penstock) -> None:
    refused = {"error": problem("queue_full", 429, "full")}
    desk.say({"data": [{"job": job()}, refused]})
    first, second = client.jobs.submit_many([{"model": "echo", "inputs": {"x": n}} for n in range(2)])
    assert isinstance(first, Job)
    assert isinstance(second, QueueFull)
    assert [item["inputs"]["x"] for item in desk.seen[0].json()] == [0, 1]


def test_more_than_a_thousand_submissions_go_in_several_bodies(desk: Desk, client: Penstock) -> None:
    desk.say({"data": [{"job": job()}] * 1000}).say({"data": [{"job": job()}]})
    outcomes = client.jobs.submit_many({"model": "echo", "inputs": {"x": n}} for n in range(1001))
    assert len(outcomes) == 1001
    assert [len(seen.json()) for seen in desk.seen] == [1000, 1]


def test_a_batch_with_too_few_outcomes_is_not_taken(desk: Desk, client: Penstock) -> None:
    desk.say({"data": []})
    with pytest.raises(UnexpectedAnswer):
        client.jobs.submit_many([{"model": "echo", "inputs": {}}])


def test_listing_follows_the_cursor_only_as_far_as_it_is_read(desk: Desk, client: Penstock) -> None:
    desk.say({"data": [job(id="a"), job(id="b")], "next_cursor": "c1"}).say(
        {"data": [job(id="c")], "next_cursor": None}
    )
    jobs = client.jobs.list(status="queued", metadata={"order": "A-17"})
    assert [next(jobs).id, next(jobs).id, len(desk.seen)] == ["a", "b", 1]
    assert [job.id for job in jobs] == ["c"]
    assert desk.seen[1].query == {"limit": "100", "status": "queued", "metadata.order": "A-17", "cursor": "c1"}


def test_an_id_cannot_leave_its_place_in_the_path(desk: Desk, client: Penstock) -> None:
    desk.say(job())
    client.jobs.cancel("../models?x")
    assert desk.seen[0].target == "/v1/jobs/..%2Fmodels%3Fx/cancel"


def test_delete_needs_no_body_in_its_answer(desk: Desk, client: Penstock) -> None:
    desk.say(b"", 204)
    client.jobs.delete("job_01J")
    assert desk.seen[0].method == "DELETE"
