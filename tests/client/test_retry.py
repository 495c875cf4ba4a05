import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock.errors import Away, Busy, InvalidInput, ModelError, PenstockError, QueueFull, TimedOut, Unreachable
from penstock.retry import FIRST_PAUSE_S, LONGEST_PAUSE_S, pause_before_retry, worth_repeating


def pause(error: PenstockError, *, tries: int = 1, elapsed_s: float = 0.0, jitter: float = 0.0) -> float | None:
    return pause_before_retry(error, tries=tries, elapsed_s=elapsed_s, patience_s=10.0, repeatable=True, jitter=jitter)


@given(tries=st.integers(1, 10_000), jitter=st.floats(0, 1, exclude_max=True))
def test_pauses_grow_with_the_tries_within_bounds(tries: int, jitter: float) -> None:
    found = pause(Away(), tries=tries, jitter=jitter)
    assert found is not None
    assert FIRST_PAUSE_S / 2 <= found <= LONGEST_PAUSE_S
    assert found <= (pause(Away(), tries=tries + 2, jitter=jitter) or 0)


def test_the_servers_retry_after_is_the_least_pause() -> None:
    assert pause(QueueFull(retry_after_s=4)) == 4


def test_a_retry_after_past_the_patience_is_told_at_once() -> None:
    assert pause(QueueFull(retry_after_s=11)) is None


def test_patience_ends_the_tries() -> None:
    assert pause(Away(), elapsed_s=10.0) is None


@pytest.mark.parametrize("error", [InvalidInput(), ModelError(), TimedOut(), PenstockError()])
def test_what_repetition_cannot_mend_is_not_repeated(error: PenstockError) -> None:
    assert pause(error) is None


def test_what_may_have_been_done_is_repeated_only_where_that_does_no_harm() -> None:
    lost, never_sent = Unreachable(), Unreachable()
    never_sent.sent = False
    doubtful: list[PenstockError] = [lost, Away(status=502)]
    certain: list[PenstockError] = [never_sent, Away(status=503), Busy()]
    assert not any(worth_repeating(error, repeatable=False) for error in doubtful)
    assert all(worth_repeating(error, repeatable=False) for error in certain)
    assert all(worth_repeating(error, repeatable=True) for error in doubtful + certain)
