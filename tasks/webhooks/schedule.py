"""When a webhook is sent again, and when nobody waits for it any more. Pure: clock and chance are handed in."""

from collections.abc import Callable

#: Seconds from each failed sending to the next; after the last one it is given up.
DELAYS_S = (5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600)
#: By how much of itself a delay may be shorter or longer, so that what failed together is not sent together.
JITTER = 0.1
#: Longest `Retry-After` that is honoured, seconds.
LONGEST_RETRY_AFTER_S = 24 * 3600
#: An endpoint from which nothing but failures came back for so long is disabled, milliseconds: five days.
GIVE_UP_MS = 5 * 86_400_000


def next_ms(failed: int, *, now_ms: int, retry_after_s: float | None, chance: Callable[[], float]) -> int:
    """When to send again after `failed` sendings, 0 for never; `chance()` is between 0 and 1.

    `Retry-After` can only make it later.
    """
    if failed > len(DELAYS_S):
        return 0
    delay_s = DELAYS_S[failed - 1] * (1 + JITTER * (2 * chance() - 1))
    if retry_after_s is not None:
        delay_s = max(delay_s, min(retry_after_s, LONGEST_RETRY_AFTER_S))
    return now_ms + round(delay_s * 1000)


def given_up(failing_ms: int, *, now_ms: int) -> bool:
    """Whether an endpoint that has failed since `failing_ms` (0: it has not) is to be disabled."""
    return bool(failing_ms) and now_ms - failing_ms >= GIVE_UP_MS
