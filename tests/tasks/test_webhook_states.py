"""Whatever clients, workers, relays, senders and time do, in any order: no event is lost, or told under two ids."""

from collections.abc import Callable

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from storage import keys
from storage.connection import Client
from storage.deliveries import LEASE_MS, PENDING, Attempt, Taken
from storage.job import Status
from tasks.message import without_inputs
from tests.tasks.hooks import Hooks

JOB = "job_1"
TARGET = "acme/@erp.example"


class Telling(RuleBasedStateMachine):
    store: Client

    @initialize(endpoint=st.booleans())
    def submit(self, endpoint: bool) -> None:
        self.store.flushall()
        self.hooks = Hooks(self.store)
        self.hooks.submit(events=("job.started", "job.completed"))
        self.targets = [TARGET]
        if endpoint:
            made = self.hooks.endpoints.create("acme", "https://one.example", events=["job.completed"])
            self.targets.append(f"acme/{made.id}")
        self.held: list[Taken] = []
        #: What happened to the job: how often it started, and ended.
        self.moves = {"job.started": 0, "job.completed": 0}
        self.ids: dict[str, tuple[str, str]] = {}
        self.deleted = False

    @property
    def status(self) -> Status:
        return self.hooks.job().status

    def moved(self, step: Callable[[], object]) -> None:
        before = self.hooks.job().status
        step()
        after = self.hooks.job().status
        if before is Status.QUEUED and after is Status.RUNNING:
            self.moves["job.started"] += 1
        if before in (Status.QUEUED, Status.RUNNING) and self.hooks.job().terminal:
            self.moves["job.completed"] += 1

    @precondition(lambda self: self.status is Status.QUEUED)
    @rule()
    def start(self) -> None:
        self.hooks.clock.ms += 1
        self.moved(self.hooks.start)

    @precondition(lambda self: self.status is Status.RUNNING)
    @rule(good=st.booleans())
    def finish(self, good: bool) -> None:
        status = Status.SUCCEEDED if good else Status.FAILED
        self.moved(lambda: self.hooks.commit(status, error=b'{"code":"model_error"}'))

    @precondition(lambda self: self.status in (Status.QUEUED, Status.RUNNING))
    @rule()
    def cancel(self) -> None:
        self.moved(lambda: self.hooks.jobs.cancel(self.hooks.job()))

    @precondition(lambda self: self.status in (Status.FAILED, Status.CANCELED) and not self.deleted)
    @rule()
    def retry(self) -> None:
        self.hooks.jobs.retry(self.hooks.job(), start_by_ms=0)
        self.hooks.jobs.release(JOB)

    @precondition(lambda self: not self.deleted)
    @rule(sure=st.sampled_from([False, False, True]))
    def delete(self, sure: bool) -> None:
        if not sure:
            return
        job = self.hooks.job()
        self.deleted = True
        remains = without_inputs(job.message)
        self.moved(lambda: self.hooks.jobs.erase(job, reason="deleted", remains=remains))

    @precondition(lambda self: self.hooks.deliveries.untold() > 0)
    @rule()
    def expand(self) -> None:
        self.hooks.expand()

    @precondition(lambda self: bool(self.hooks.deliveries.of(JOB)))
    @rule(data=st.data())
    def take(self, data: st.DataObject) -> None:
        taken = self.hooks.deliveries.take(data.draw(st.sampled_from(self.targets)))
        if taken is not None:
            self.held.append(taken)

    @precondition(lambda self: bool(self.held))
    @rule(data=st.data(), outcome=st.sampled_from(["delivered", "failed", "failed", "gone"]), last=st.booleans())
    def answer(self, data: st.DataObject, outcome: str, last: bool) -> None:
        taken = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        next_ms = 0 if last else self.hooks.clock.ms + 5000
        attempt = Attempt(at_ms=self.hooks.clock.ms, ended=True)
        before = {one.id: one.state for one in self.hooks.deliveries.of(JOB)}
        came = self.hooks.deliveries.attempted(taken, attempt, outcome, next_ms=next_ms)
        if before[taken.delivery.id] == "delivered":
            assert came.state == "delivered", "what was delivered stays so"

    @precondition(lambda self: bool(self.hooks.deliveries.of(JOB)))
    @rule(data=st.data())
    def redeliver(self, data: st.DataObject) -> None:
        self.hooks.deliveries.redeliver(data.draw(st.sampled_from(self.hooks.deliveries.of(JOB))))

    @rule(ms=st.sampled_from([1, 5000, LEASE_MS]))
    def wait(self, ms: int) -> None:
        self.hooks.clock.ms += ms

    @invariant()
    def every_event_is_in_the_outbox_or_has_its_deliveries(self) -> None:
        waiting = [entry.event for entry in self.hooks.deliveries.outbox(limit=999)]
        own = [one for one in self.hooks.deliveries.of(JOB) if not one.endpoint]
        for event, count in self.moves.items():
            assert waiting.count(event) + sum(one.event == event for one in own) == count

    @invariant()
    def job_counts_what_is_not_settled(self) -> None:
        found = self.hooks.deliveries.of(JOB)
        pending = sum(one.state == PENDING for one in found)
        assert self.hooks.job().hooks == pending + self.hooks.deliveries.untold()

    @invariant()
    def pending_are_counted(self) -> None:
        pending = sum(one.state == PENDING for one in self.hooks.deliveries.of(JOB))
        assert self.hooks.deliveries.counters().get("pending", 0) == pending

    @invariant()
    def what_is_pending_waits_in_its_targets_queue_and_nothing_else_does(self) -> None:
        found = self.hooks.deliveries.of(JOB)
        for target in self.targets:
            queued = {id.decode() for id in self.store.zrange(keys.target(target), 0, -1)}
            assert queued == {one.id for one in found if one.state == PENDING and one.target == target}
            if queued:
                assert self.store.zscore(keys.TARGETS, target) is not None, "nobody would look there"

    @invariant()
    def id_belongs_to_one_event_for_ever(self) -> None:
        for one in self.hooks.deliveries.of(JOB):
            assert self.ids.setdefault(one.id, (one.event, one.target)) == (one.event, one.target)

    def teardown(self) -> None:
        """Once receivers answer, everything settles."""
        if not hasattr(self, "hooks"):
            return
        for _ in range(4):
            self.hooks.clock.ms += LEASE_MS
            self.hooks.work()
        assert self.hooks.job().hooks == 0
        assert self.hooks.deliveries.untold() == 0
        assert {one.state for one in self.hooks.deliveries.of(JOB)} <= {"delivered", "exhausted", "disabled"}


@pytest.mark.timeout(120)
def test_no_event_is_lost_whatever_happens(store: Client) -> None:
    machine = type("Bound", (Telling,), {"store": store})
    options = settings(
        max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
    )  # fmt: skip
    run_state_machine_as_test(machine, settings=options)
