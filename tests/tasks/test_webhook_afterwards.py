"""What becomes of endpoints that are given another chance, and of deliveries whose job was retried, kept or deleted."""

from collections.abc import Callable

import msgspec
import pytest

from storage import keys
from storage.connection import Client
from storage.deliveries import PENDING_MS, TENANT_AT_ONCE, Delivery
from storage.job import Status
from storage.webhooks import FAILING, Endpoint
from tasks.serve import THREADS
from tasks.webhooks.schedule import GIVE_UP_MS
from tasks.webhooks.sending import Answer
from tests.tasks.hooks import Hooks, Sent

TARGET = "acme/@erp.example"
DAY_MS = 86_400_000


@pytest.fixture
def hooks(store: Client) -> Hooks:
    return Hooks(store)


def fail(hooks: Hooks, id: str) -> None:
    """Tell of a job, to receivers that answer 500 alone."""
    hooks.respond = lambda _: Answer(500, 2.0, b"")
    hooks.submit(id, events=None)
    hooks.finish(id)
    hooks.work()


def moved(one: Endpoint) -> Endpoint:
    return msgspec.structs.replace(one, url="https://two.example/hook")


@pytest.mark.parametrize("step", [Endpoint.enable, moved])
def test_endpoint_with_another_chance_outlives_its_first_failure(
    hooks: Hooks, step: Callable[[Endpoint], Endpoint]
) -> None:
    made = hooks.endpoints.create("acme", "https://one.example/hook", events=["job.completed"])
    fail(hooks, "job_1")
    if step is not moved:
        hooks.endpoints.change("acme", made.id, lambda one: one.disable(FAILING, now_ms=hooks.clock.ms))
    hooks.clock.ms += GIVE_UP_MS
    hooks.endpoints.change("acme", made.id, step)
    assert hooks.endpoints.conditions([f"acme/{made.id}"])[0].failing_ms == 0
    fail(hooks, "job_2")
    assert hooks.endpoints.get("acme", made.id).disabled == ""


def test_new_description_leaves_the_days_of_failure_as_they_are(hooks: Hooks) -> None:
    made = hooks.endpoints.create("acme", "https://one.example/hook", events=["job.completed"])
    fail(hooks, "job_1")
    hooks.endpoints.change("acme", made.id, lambda one: msgspec.structs.replace(one, description="new"))
    assert hooks.endpoints.conditions([f"acme/{made.id}"])[0].failing_ms == hooks.clock.ms


def test_endpoint_that_is_removed_while_it_answers_is_nobodys_mistake(hooks: Hooks) -> None:
    made = hooks.endpoints.create("acme", "https://one.example/hook", events=["job.completed"])

    def removed(_: Sent) -> Answer:
        hooks.endpoints.remove("acme", made.id)
        return Answer(410, 2.0, b"")

    hooks.respond = removed
    hooks.submit(events=None)
    hooks.finish()
    hooks.work()
    assert hooks.delivery().state == "disabled"
    assert hooks.endpoints.all("acme") == []


def test_eight_tenants_with_hanging_receivers_are_what_it_takes_to_hold_an_orchestrator() -> None:
    assert TENANT_AT_ONCE * 8 <= THREADS


def given_up(hooks: Hooks, id: str = "job_1") -> Delivery:
    hooks.submit(id)
    hooks.finish(id, status=Status.FAILED, error=b"{}")
    hooks.respond = lambda _: Answer(410, 2.0, b"")
    hooks.work()
    return hooks.delivery(id)


def test_failures_before_a_retry_are_not_subtracted_after_it(hooks: Hooks) -> None:
    delivery = given_up(hooks)
    assert hooks.job().hooks_failed == 1
    assert hooks.jobs.retry(hooks.job(), start_by_ms=0) == "failed"
    hooks.deliveries.redeliver(delivery)
    assert hooks.job().hooks_failed == 0


def test_deliveries_are_listed_as_long_as_the_results_stay(hooks: Hooks, store: Client) -> None:
    hooks.submit(events=("job.started", "job.completed"), result_ttl_s=30 * 86400)
    hooks.start()
    hooks.work()
    hooks.commit(Status.SUCCEEDED)
    hooks.expand()
    left = [
        store.pttl(keys.deliveries("job_1")),
        *(store.pttl(keys.delivery(one.id)) for one in hooks.deliveries.of("job_1")),
    ]
    assert len(left) == 3
    assert min(left) > 29 * DAY_MS
    hooks.work()
    hooks.deliveries.redeliver(hooks.delivery())
    assert store.pttl(keys.delivery(hooks.delivery().id)) > 29 * DAY_MS > PENDING_MS


def test_deletion_makes_no_half_of_a_delivery_that_is_gone_meanwhile(
    hooks: Hooks, store: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks.submit()
    hooks.finish()
    hooks.expand()
    found = hooks.deliveries.of("job_1")
    store.delete(keys.delivery(found[0].id))
    monkeypatch.setattr(hooks.deliveries, "of", lambda _: found)
    hooks.deliveries.forget("job_1", lambda _: b"blank")
    assert not store.exists(keys.delivery(found[0].id))
