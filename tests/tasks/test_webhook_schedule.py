"""When a webhook is sent again."""

import hypothesis.strategies as st
from hypothesis import given

from tasks.webhooks.schedule import DELAYS_S, GIVE_UP_MS, LONGEST_RETRY_AFTER_S, given_up, next_ms


def delay_s(failed: int, *, retry_after_s: float | None = None, chance: float = 0.5) -> float:
    return next_ms(failed, now_ms=1_000_000, retry_after_s=retry_after_s, chance=lambda: chance) / 1000 - 1000


def test_delays_are_those_of_the_contract() -> None:
    assert [delay_s(failed) for failed in range(1, 10)] == [5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400]


def test_after_the_last_delay_it_is_given_up() -> None:
    assert next_ms(10, now_ms=1, retry_after_s=5, chance=lambda: 0.5) == 0


@given(st.integers(1, 9), st.floats(0, 1))
def test_jitter_is_a_tenth_to_either_side(failed: int, chance: float) -> None:
    assert 0.899 <= delay_s(failed, chance=chance) / DELAYS_S[failed - 1] <= 1.101


def test_retry_after_makes_it_later_within_a_day_and_never_earlier() -> None:
    assert delay_s(1, retry_after_s=60) == 60
    assert delay_s(2, retry_after_s=1) == 300
    assert delay_s(1, retry_after_s=1e9) == LONGEST_RETRY_AFTER_S


def test_endpoint_is_given_up_after_five_days_of_nothing_but_failure() -> None:
    assert not given_up(0, now_ms=GIVE_UP_MS * 9)
    assert not given_up(1000, now_ms=1000 + GIVE_UP_MS - 1)
    assert given_up(1000, now_ms=1000 + GIVE_UP_MS)
