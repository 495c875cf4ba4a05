"""Cumulative acknowledgement: everything settled is acknowledged once, nothing else is."""

import hypothesis.strategies as st
from hypothesis import given

from workers.acks import Ledger


def test_settled_front_goes_with_one_cumulative_ack() -> None:
    ledger = Ledger()
    for tag in (1, 2, 3, 4):
        ledger.deliver(tag)
    for tag in (2, 1, 3):
        ledger.settle(tag)
    assert ledger.flush() == (3, [])
    assert len(ledger) == 1


def test_jobs_behind_a_slow_one_are_acknowledged_singly_and_at_once() -> None:
    ledger = Ledger()
    for tag in (1, 2, 3):
        ledger.deliver(tag)
    ledger.settle(2)
    ledger.settle(3)
    assert ledger.flush() == (None, [2, 3])
    ledger.settle(1)
    assert ledger.flush() == (1, [])


def test_tag_of_an_older_channel_is_ignored() -> None:
    ledger = Ledger()
    ledger.deliver(1)
    ledger.settle(77)
    assert ledger.flush() == (None, [])


steps = st.lists(st.tuples(st.sampled_from(["deliver", "settle", "forget", "flush"]), st.integers(0, 30)), max_size=80)


@given(steps)
def test_every_settled_tag_is_acknowledged_and_no_other(events: list[tuple[str, int]]) -> None:
    ledger = Ledger()
    acked: set[int] = set()
    settled: set[int] = set()
    rejected: set[int] = set()
    delivered = 0
    for step, pick in [*events, ("flush", 0)]:
        free = sorted(set(range(1, delivered + 1)) - settled - rejected)
        if step == "deliver":
            delivered += 1
            ledger.deliver(delivered)
        elif step == "flush":
            acked |= _acked(ledger, rejected)
            assert acked == settled
        elif free:
            tag = free[pick % len(free)]
            (settled if step == "settle" else rejected).add(tag)
            (ledger.settle if step == "settle" else ledger.forget)(tag)


def _acked(ledger: Ledger, rejected: set[int]) -> set[int]:
    """What the broker takes as acknowledged: a rejected message is not its to acknowledge any more."""
    up_to, singles = ledger.flush()
    return (set(range(1, (up_to or 0) + 1)) | set(singles)) - rejected
