"""Whoever races for a scoring, clients and drivers of any epoch: it makes legal moves alone, and is never forgotten."""

from collections.abc import Callable
from contextlib import suppress

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from errors import AlreadyTerminal, NotFound, NotReady
from storage import keys
from storage.connection import Client
from storage.driven import LEASE_MS, Hold, LeaseLost, take
from storage.scoring import ENDED, ScoringStatus
from storage.scorings import Scorings
from tests.storage.test_scorings import Clock, spec

S = ScoringStatus
#: Every move there is; a retry goes from an end to queued.
NEXT = {
    S.QUEUED: {S.VALIDATING, S.CANCELING, S.CANCELED, S.FAILED},
    S.VALIDATING: {S.RUNNING, S.COMPLETED, S.FAILED, S.CANCELING},
    S.RUNNING: {S.MERGING, S.CANCELING, S.FAILED},
    S.MERGING: {S.COMPLETED, S.FAILED, S.CANCELED},
    S.CANCELING: {S.CANCELED},
    S.COMPLETED: {S.QUEUED},
    S.FAILED: {S.QUEUED},
    S.CANCELED: {S.QUEUED},
}
IDS = ("scr_1", "scr_2")
MOVES = [S.VALIDATING, S.RUNNING, S.MERGING, S.COMPLETED, S.FAILED, S.CANCELED]


class Race(RuleBasedStateMachine):
    store: Client
    holds = Bundle("holds")

    @initialize()
    def begin(self) -> None:
        self.store.flushall()
        self.clock = Clock()
        self.scorings = Scorings(self.store, now_ms=self.clock)
        self.seen: dict[str, ScoringStatus] = {}
        self.epochs = dict.fromkeys(IDS, 0)
        for number, id in enumerate(IDS):
            self.scorings.create(spec(id, tenant=f"t{number}"))
            self.seen[id] = S.QUEUED

    @rule(target=holds)
    def take(self) -> Hold | None:
        hold = take(self.scorings)
        if hold is not None:
            assert hold.epoch == self.epochs[hold.id] + 1
            self.epochs[hold.id] = hold.epoch
        return hold

    @rule(ms=st.sampled_from([1, LEASE_MS - 1, LEASE_MS]))
    def wait(self, ms: int) -> None:
        self.clock.ms += ms

    @rule(hold=holds, to=st.sampled_from([None, *MOVES]), failed=st.sampled_from([0, 3]))
    def note(self, hold: Hold | None, to: ScoringStatus | None, failed: int) -> None:
        if hold is None:
            return
        before = self.scorings.get(hold.id)
        try:
            after = hold.note(to=to, fields={"failed": failed, "total": 9, "done": 9})
        except LeaseLost:
            assert hold.epoch != self.epochs[hold.id] or before is None
            return
        assert hold.epoch == self.epochs[hold.id]
        now = self.scorings.get(hold.id)
        assert now is not None
        assert now.status is after
        assert (after is to) or to is None or now.done == (before.done if before else 0)

    @rule(hold=holds)
    def release(self, hold: Hold | None) -> None:
        try:
            if hold is not None:
                hold.release()
        except LeaseLost:
            assert hold is not None
            assert hold.epoch != self.epochs[hold.id]

    @rule(id=st.sampled_from(IDS))
    def cancel(self, id: str) -> None:
        self._ask(lambda: self.scorings.cancel(id))

    @rule(id=st.sampled_from(IDS))
    def retry(self, id: str) -> None:
        self._ask(lambda: self.scorings.retry_failed(id))

    @rule(id=st.sampled_from(IDS), reason=st.sampled_from(["deleted", "expired"]))
    def erase(self, id: str, reason: str) -> None:
        one = self.scorings.get(id)
        if one is not None:
            self._ask(lambda: self.scorings.erase(one, reason=reason))  # type: ignore[arg-type]

    def _ask(self, ask: Callable[[], object]) -> None:
        with suppress(NotFound, NotReady, AlreadyTerminal):
            ask()

    @invariant()
    def every_move_is_legal(self) -> None:
        for id, before in self.seen.items():
            one = self.scorings.get(id)
            assert one is not None
            if one.status is not before:
                assert one.status in NEXT[before], f"{before} -> {one.status}"
                self.seen[id] = one.status
            assert one.ended == (one.ended_ms > 0)

    @invariant()
    def what_has_not_ended_waits_or_is_driven_and_what_has_ended_will_be_erased(self) -> None:
        for number, id in enumerate(IDS):
            one = self.scorings.get(id)
            member = f"t{number}/{id}"
            waits = self.store.zscore(keys.SCORINGS_WAITING, member) is not None
            driven = self.store.zscore(keys.SCORINGS_DRIVEN, member) is not None
            due = self.store.zscore(keys.DUE, "scoring:" + id) is not None
            assert one is not None
            assert waits + driven + due == 1
            assert due == (one.status in ENDED)


@pytest.mark.parametrize("examples", [60])
def test_racing_clients_and_drivers_make_legal_moves_alone(store: Client, examples: int) -> None:
    Race.store = store
    checks = settings(
        max_examples=examples, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(Race, settings=checks)
