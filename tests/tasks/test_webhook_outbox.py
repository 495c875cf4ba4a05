"""From a job's move to a delivery for each that is to hear of it, in whatever order things happen."""

import msgspec
import pytest
import redis

from errors import TargetRefused
from storage import keys
from storage.connection import Client
from storage.job import Status
from storage.jobs import Return
from tasks.job_object import timestamp
from tasks.message import without_inputs
from tasks.webhooks.body import BODY_BYTES
from tests.tasks.hooks import BASE, URL, Hooks


@pytest.fixture
def hooks(store: Client) -> Hooks:
    return Hooks(store)


def test_job_without_subscriber_leaves_nothing_behind(hooks: Hooks, store: "redis.Redis") -> None:
    hooks.submit(events=None)
    hooks.finish()
    assert not store.exists(keys.OUTBOX)
    assert not {b"events", b"hooks", b"webhook"} & set(store.hgetall(keys.job("job_1")))


def test_end_is_told_to_the_jobs_own_url(hooks: Hooks) -> None:
    hooks.submit(metadata={"order": "A-17"})
    hooks.finish(outputs=b'{"y":1}')
    hooks.work()
    (sent,) = hooks.sent
    assert sent.url == URL
    assert sent.json["timestamp"] == timestamp(hooks.clock.ms)
    data = sent.json["data"]
    assert (data["id"], data["status"], data["outputs"], data["metadata"]) == (
        "job_1", "succeeded", {"y": 1}, {"order": "A-17"},
    )  # fmt: skip
    assert data["urls"]["result"] == BASE + "/v1/jobs/job_1/result"
    assert hooks.delivery().state == "delivered"


def test_every_kind_of_end_is_told(hooks: Hooks) -> None:
    hooks.submit("job_1")
    hooks.finish("job_1", status=Status.FAILED, error=b'{"code":"model_error"}')
    hooks.submit("job_2")
    hooks.jobs.cancel(hooks.job("job_2"))
    hooks.submit("job_3", queue_ttl_s=1)
    hooks.clock.ms += 2000
    hooks.jobs.expire(hooks.job("job_3"))
    hooks.submit("job_4")
    token = hooks.start("job_4")
    hooks.jobs.cancel(hooks.job("job_4"))
    hooks.jobs.requeue_all([Return(id="job_4", queue=hooks.job("job_4").queue, token=token)])
    hooks.submit("job_5")
    hooks.jobs.fail(hooks.job("job_5"), b'{"code":"attempts_exhausted"}')
    hooks.work()
    assert {one.json["data"]["id"]: one.json["data"]["status"] for one in hooks.sent} == {
        "job_1": "failed", "job_2": "canceled", "job_3": "expired", "job_4": "canceled", "job_5": "failed",
    }  # fmt: skip


def test_start_is_told_where_it_is_wanted_as_it_was_then(hooks: Hooks) -> None:
    hooks.submit(events=("job.started", "job.completed"))
    hooks.finish(outputs=b'{"y":1}')
    hooks.work()
    # In whatever order.
    started, ended = sorted(hooks.sent, key=lambda one: one.json["type"], reverse=True)
    assert (started.json["type"], ended.json["type"]) == ("job.started", "job.completed")
    first = started.json["data"]
    assert (first["status"], first["outputs"], first["completed_at"]) == ("running", None, None)
    assert started.id != ended.id


def test_endpoints_hear_of_every_job_of_their_tenant_and_of_no_other(hooks: Hooks) -> None:
    first = hooks.endpoints.create("acme", "https://one.example", events=["job.completed"])
    hooks.endpoints.create("acme", "https://two.example", events=["job.started"])
    hooks.endpoints.create("umbra", "https://three.example", events=["job.completed"])
    off = hooks.endpoints.create("acme", "https://four.example", events=["job.completed"])
    hooks.endpoints.change("acme", off.id, lambda one: one.disable("asked", now_ms=1))
    hooks.submit(events=None)
    hooks.finish()
    hooks.work()
    assert [(one.url, one.json["type"]) for one in sorted(hooks.sent)] == [
        ("https://one.example", "job.completed"), ("https://two.example", "job.started"),
    ]  # fmt: skip
    hooks.endpoints.remove("acme", first.id)
    hooks.submit("job_2", events=None)
    hooks.finish("job_2")
    hooks.work()
    assert [one.url for one in hooks.sent[2:]] == ["https://two.example"]


def test_event_expanded_twice_makes_one_delivery(hooks: Hooks) -> None:
    hooks.submit()
    hooks.finish()
    (entry,) = hooks.deliveries.outbox(limit=9)
    hooks.expander.expand(entry)
    hooks.expander.expand(entry)
    assert len(hooks.deliveries.of("job_1")) == 1
    assert hooks.job().hooks == 1


def test_retried_job_tells_of_each_end_under_its_own_id(hooks: Hooks) -> None:
    hooks.submit()
    hooks.finish(status=Status.FAILED, error=b'{"code":"model_error"}')
    # The client is faster than the relay.
    hooks.jobs.retry(hooks.job(), start_by_ms=0)
    hooks.jobs.release("job_1")
    hooks.clock.ms += 1000
    hooks.finish(outputs=b'{"y":2}')
    hooks.work()
    first, second = sorted(hooks.sent, key=lambda one: str(one.json["data"]["status"]))
    assert (first.json["data"]["status"], second.json["data"]["status"]) == ("failed", "succeeded")
    assert first.json["data"]["error"] == {"code": "model_error"}
    assert first.id != second.id
    assert not hooks.store.exists(keys.ended("job_1", 1))


def test_deleted_job_is_still_told_of_without_its_contents(hooks: Hooks) -> None:
    hooks.submit("job_1", metadata={"order": 1})
    hooks.finish("job_1", outputs=b'{"y":"secret"}')
    hooks.submit("job_2")
    hooks.start("job_2")
    for id in ("job_1", "job_2"):
        job = hooks.job(id)
        hooks.jobs.erase(job, reason="deleted", remains=without_inputs(job.message))
        assert b'"x"' not in hooks.job(id).message
    hooks.jobs.requeue_all([Return(id="job_2", queue=hooks.job("job_2").queue, token=1)])
    hooks.work()
    assert {one.json["data"]["status"]: one.json["data"]["outputs"] for one in hooks.sent} == {
        "succeeded": None, "canceled": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("outputs", "metadata", "steps"),
    [
        (b'{"y":"%s"}' % (b"y" * 60_000), {}, b""),
        (b'{"y":1}', {"a": "m" * 16_000, "b": "m" * 16_000}, b""),
        (b'{"y":"%s"}' % (b"y" * 4000), {"a": "m" * 16_000}, b""),
    ],
)
def test_body_stays_thin(hooks: Hooks, outputs: bytes, metadata: dict[str, str], steps: bytes) -> None:
    hooks.submit(metadata=metadata)
    hooks.finish(outputs=outputs)
    hooks.work()
    (sent,) = hooks.sent
    assert len(sent.body) < BODY_BYTES
    assert sent.json["data"]["urls"]["result"]


def test_long_error_is_cut_and_still_a_problem_document(hooks: Hooks) -> None:
    error = {"code": "model_error", "status": 500, "retryable": True, "detail": "d" * 50_000, "trace": "t" * 9000}
    hooks.submit()
    hooks.finish(status=Status.FAILED, error=msgspec.json.encode(error))
    hooks.work()
    told = hooks.sent[0].json["data"]["error"]
    assert (told["code"], told["status"], len(told["detail"])) == ("model_error", 500, 500)


def test_event_that_cannot_be_told_of_keeps_no_other_waiting(
    hooks: Hooks, store: "redis.Redis", caplog: pytest.LogCaptureFixture
) -> None:
    hooks.submit("job_1")
    hooks.finish("job_1")
    store.hset(keys.job("job_1"), "steps", "no JSON")
    hooks.submit("job_2")
    hooks.finish("job_2")
    hooks.work()
    assert [one.json["data"]["id"] for one in hooks.sent] == ["job_2"]
    assert "an event cannot be told of" in caplog.text
    assert hooks.deliveries.untold() == 1


def test_url_that_nothing_can_be_sent_to_is_noted_and_given_up_in_the_end(hooks: Hooks) -> None:
    """As a message that was pushed straight to the queue may have."""

    def refuse(_: object) -> None:
        raise TargetRefused("it must begin with https://")

    hooks.respond = refuse  # type: ignore[assignment]
    hooks.submit()
    hooks.finish()
    hooks.work()
    assert (hooks.delivery().state, hooks.delivery().attempts[0].error) == ("pending", "it must begin with https://")
