"""What becomes of a delivery: sent, sent again by its schedule, given up; and nobody waits for another's receiver."""

from collections.abc import Callable

import pytest
from standardwebhooks.webhooks import Webhook

from errors import Unreachable
from storage import deliveries as storage
from storage import keys
from storage.connection import Client
from storage.deliveries import AT_ONCE, FAILING_AT_ONCE, LEASE_MS, NEW_AT_ONCE, Delivery
from storage.webhooks import Endpoint
from tasks.webhooks.schedule import DELAYS_S, GIVE_UP_MS
from tasks.webhooks.sending import Answer
from tests.tasks.hooks import OK, Hooks, Sent

TARGET = "acme/@erp.example"


@pytest.fixture
def hooks(store: Client) -> Hooks:
    return Hooks(store)


def answering(status: int, **more: float) -> Callable[[Sent], Answer]:
    return lambda _: Answer(status, 2.0, b"body", **more)


def silent(_: Sent) -> Answer:
    raise Unreachable("no answer from erp.example: timed out")


def ended(hooks: Hooks, id: str = "job_1") -> Delivery:
    """The delivery of a job that has ended, expanded."""
    hooks.submit(id)
    hooks.finish(id)
    hooks.expand()
    return hooks.delivery(id)


def endpoint(hooks: Hooks) -> Endpoint:
    return hooks.endpoints.create("acme", "https://one.example/hook", events=["job.completed"])


def test_public_library_finds_the_signature_right(hooks: Hooks) -> None:
    made = endpoint(hooks)
    hooks.submit(events=None)
    hooks.finish()
    hooks.work()
    (sent,) = hooks.sent
    assert sent.headers["content-type"] == "application/json"
    assert Webhook(made.secrets[0].value).verify(sent.body, dict(sent.headers))["type"] == "job.completed"


def test_both_secrets_sign_while_one_is_rotated(hooks: Hooks) -> None:
    made = endpoint(hooks)
    now = hooks.clock.ms
    hooks.endpoints.change("acme", made.id, lambda one: one.rotated("whsec_bmV3", now_ms=now, overlap_s=3600))
    for id, count in (("job_1", 2), ("job_2", 1)):
        hooks.submit(id, events=None)
        hooks.finish(id)
        hooks.work()
        assert len(hooks.sent[-1].headers["webhook-signature"].split()) == count
        hooks.clock.ms += 3_600_000


@pytest.mark.parametrize("status", [301, 307, 400, 404, 429, 500, 503])
def test_any_answer_but_success_is_noted_and_sent_again(hooks: Hooks, status: int) -> None:
    hooks.respond = answering(status)
    delivery = ended(hooks)
    hooks.work()
    delivery = hooks.delivery()
    (attempt,) = delivery.attempts
    assert (delivery.state, attempt.status, attempt.answer, attempt.latency_ms) == ("pending", status, "body", 2.0)
    assert str(status) in attempt.error
    assert delivery.next_ms == hooks.clock.ms + 5000


def test_schedule_is_followed_to_its_end_under_one_id_and_the_end_noted(hooks: Hooks) -> None:
    hooks.respond = silent
    ended(hooks)
    hooks.work()
    for delay_s in DELAYS_S:
        hooks.clock.ms += delay_s * 1000 - 1
        hooks.work()
        before = len(hooks.sent)
        hooks.clock.ms += 1
        hooks.work()
        assert len(hooks.sent) == before + 1, f"sent after {delay_s} s"
    delivery = hooks.delivery()
    assert (delivery.state, delivery.sendings, delivery.next_ms) == ("exhausted", 10, 0)
    assert all(one.error for one in delivery.attempts)
    assert {one.id for one in hooks.sent} == {delivery.id}
    assert (hooks.job().hooks, hooks.job().hooks_failed) == (0, 1)
    assert hooks.deliveries.due(limit=9) == []
    counters = hooks.deliveries.counters()
    assert (counters["exhausted"], counters["attempts:bad"], counters["pending"]) == (1, 10, 0)


def test_retry_after_is_honoured(hooks: Hooks) -> None:
    hooks.respond = answering(429, retry_after_s=90.0)
    ended(hooks)
    hooks.work()
    assert hooks.delivery().next_ms == hooks.clock.ms + 90_000


def test_gone_disables_the_endpoint_and_what_waits_for_it(hooks: Hooks) -> None:
    made = endpoint(hooks)
    for id in ("job_1", "job_2"):
        hooks.submit(id, events=None)
        hooks.finish(id)
    hooks.respond = answering(410)
    hooks.work()
    assert len(hooks.sent) == 1
    assert hooks.endpoints.get("acme", made.id).disabled == "gone"
    assert [hooks.delivery(id).state for id in ("job_1", "job_2")] == ["disabled", "disabled"]
    errors = {hooks.delivery(id).attempts[-1].error for id in ("job_1", "job_2")}
    assert errors == {"answered 410", "the endpoint is disabled"}
    hooks.submit("job_3", events=None)
    hooks.finish("job_3")
    assert hooks.deliveries.untold() == 0


def test_gone_ends_a_delivery_to_a_jobs_own_url(hooks: Hooks) -> None:
    hooks.respond = answering(410)
    ended(hooks)
    hooks.work()
    assert hooks.delivery().state == "disabled"
    ended(hooks, "job_2")
    hooks.respond = lambda _: OK
    hooks.work()
    assert hooks.delivery("job_2").state == "delivered"


def test_five_days_of_nothing_but_failure_disable_the_endpoint(hooks: Hooks) -> None:
    made = endpoint(hooks)
    hooks.respond = answering(500)

    def fail(id: str) -> str:
        hooks.submit(id, events=None)
        hooks.finish(id)
        hooks.work()
        return hooks.endpoints.get("acme", made.id).disabled

    assert fail("job_1") == ""
    hooks.clock.ms += GIVE_UP_MS - 1
    assert fail("job_2") == ""
    hooks.clock.ms += 1
    assert fail("job_3") == "failing"


def test_success_ends_the_days_of_failure(hooks: Hooks) -> None:
    made = endpoint(hooks)
    for id, status in (("job_1", 500), ("job_2", 200), ("job_3", 500)):
        hooks.respond = answering(status)
        hooks.submit(id, events=None)
        hooks.finish(id)
        hooks.work()
        hooks.clock.ms += GIVE_UP_MS
    assert hooks.endpoints.get("acme", made.id).disabled == ""


def test_removed_endpoint_is_sent_nothing_more(hooks: Hooks) -> None:
    made = endpoint(hooks)
    hooks.submit(events=None)
    hooks.finish()
    hooks.expand()
    hooks.endpoints.remove("acme", made.id)
    hooks.work()
    assert (hooks.sent, hooks.delivery().state) == ([], "disabled")


def test_sender_that_dies_is_followed_by_another_under_the_same_id(hooks: Hooks) -> None:
    ended(hooks)
    taken = hooks.deliveries.take(TARGET)
    assert taken is not None
    hooks.work()
    assert hooks.sent == []
    hooks.clock.ms += LEASE_MS
    hooks.work()
    assert [one.id for one in hooks.sent] == [taken.delivery.id]
    delivery = hooks.delivery()
    assert (delivery.state, delivery.sendings) == ("delivered", 2)
    assert [one.ended for one in delivery.attempts] == [False, True]


def test_failure_told_late_does_not_undo_what_another_delivered(hooks: Hooks) -> None:
    ended(hooks)
    late = hooks.deliveries.take(TARGET)
    assert late is not None
    hooks.clock.ms += LEASE_MS
    hooks.work()
    came = hooks.deliveries.attempted(late, storage.Attempt(at_ms=1, error="late", ended=True), "failed", next_ms=9)
    assert came.state == "delivered"
    assert (hooks.delivery().state, hooks.job().hooks) == ("delivered", 0)


def test_success_told_late_counts_although_it_was_given_up(hooks: Hooks) -> None:
    ended(hooks)
    late = hooks.deliveries.take(TARGET)
    assert late is not None
    hooks.clock.ms += LEASE_MS
    hooks.respond = answering(410)
    hooks.work()
    assert (hooks.delivery().state, hooks.job().hooks, hooks.job().hooks_failed) == ("disabled", 0, 1)
    came = hooks.deliveries.attempted(late, storage.Attempt(at_ms=1, status=200, ended=True), "delivered")
    assert (came.state, hooks.job().hooks, hooks.job().hooks_failed) == ("delivered", 0, 0)
    assert hooks.deliveries.counters()["pending"] == 0


def test_failure_told_late_leaves_the_next_sending_to_who_took_over(hooks: Hooks) -> None:
    ended(hooks)
    late = hooks.deliveries.take(TARGET)
    assert late is not None
    hooks.clock.ms += LEASE_MS
    assert hooks.deliveries.take(TARGET) is not None
    hooks.deliveries.attempted(late, storage.Attempt(at_ms=1, error="late", ended=True), "failed", next_ms=9)
    assert hooks.deliveries.take(TARGET) is None


def test_redelivery_sends_again_under_the_same_id_with_a_schedule_of_its_own(hooks: Hooks) -> None:
    ended(hooks)
    hooks.work()
    assert hooks.deliveries.redeliver(hooks.delivery()) == "delivered"
    hooks.respond = answering(500)
    hooks.work()
    delivery = hooks.delivery()
    assert (delivery.state, delivery.next_ms) == ("pending", hooks.clock.ms + 5000)
    hooks.respond = lambda _: OK
    hooks.clock.ms += 5000
    hooks.work()
    assert len(hooks.sent) == 3
    assert {one.id for one in hooks.sent} == {delivery.id}
    assert (hooks.delivery().state, hooks.job().hooks, hooks.job().hooks_failed) == ("delivered", 0, 0)


def leased(hooks: Hooks, target: str) -> int:
    count = 0
    while hooks.deliveries.take(target):
        count += 1
    return count


def test_target_gets_a_few_at_once_by_how_it_fares(hooks: Hooks, store: Client) -> None:
    for number in range(20):
        ended(hooks, f"job_{number}")
    assert hooks.deliveries.dispatch(TARGET) == AT_ONCE
    assert leased(hooks, TARGET) == NEW_AT_ONCE
    hooks.clock.ms += LEASE_MS
    store.hset(keys.condition(TARGET), "good_ms", "1")
    assert leased(hooks, TARGET) == AT_ONCE
    hooks.clock.ms += LEASE_MS
    store.hset(keys.condition(TARGET), "failing_ms", "1")
    assert leased(hooks, TARGET) == FAILING_AT_ONCE


def test_one_tenant_holds_only_a_share_of_the_senders(
    hooks: Hooks, store: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "TENANT_AT_ONCE", 3)
    targets = []
    for number in range(5):
        made = hooks.endpoints.create("acme", f"https://e{number}.example", events=["job.completed"])
        targets.append(f"acme/{made.id}")
    for number in range(3):
        hooks.submit(f"job_{number}", events=None)
        hooks.finish(f"job_{number}")
    hooks.expand()
    assert sum(leased(hooks, target) for target in targets) == 3


def test_turn_at_one_target_ends_so_that_others_have_theirs(hooks: Hooks) -> None:
    for number in range(3):
        ended(hooks, f"job_{number}")
    seconds = iter([0.0, 1.0, 99.0])
    hooks.deliverer._clock = lambda: next(seconds)
    assert hooks.deliverer.drain(TARGET) == 1
    # It is looked at again at once.
    assert hooks.deliveries.due(limit=9) == [TARGET]


def test_shutdown_ends_a_turn_after_the_sending_at_hand(hooks: Hooks) -> None:
    for number in range(3):
        ended(hooks, f"job_{number}")

    def stop(_: Sent) -> Answer:
        hooks.deliverer.stop.set()
        return OK

    hooks.respond = stop
    assert hooks.deliverer.drain(TARGET) == 1


def test_settled_deliveries_go_with_their_job(hooks: Hooks) -> None:
    ended(hooks)
    hooks.deliveries.forget("job_1")
    assert len(hooks.deliveries.of("job_1")) == 1
    hooks.work()
    hooks.deliveries.forget("job_1")
    assert hooks.deliveries.of("job_1") == []


def test_neither_secret_nor_query_is_logged(hooks: Hooks, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    made = endpoint(hooks)
    hooks.submit()
    hooks.finish()
    hooks.work()
    text = "\n".join(str(vars(record)) for record in caplog.records)
    assert "webhook sent" in text
    assert "token=1" not in text
    assert made.secrets[0].value not in text
