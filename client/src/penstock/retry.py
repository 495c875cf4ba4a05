"""When a request is worth repeating, and after how long; pure policy, the clock stands outside."""

from collections.abc import Callable
from typing import TypeVar

from penstock.errors import Away, Busy, PenstockError, Unreachable

Answer = TypeVar("Answer")

#: Asks once; raises PenstockError.
Attempt = Callable[[], Answer]
#: Waits so many seconds.
Sleep = Callable[[float], None]

#: The first pause; each further one is twice as long, up to the longest.
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0


def pause_before_retry(
    error: PenstockError, *, tries: int, elapsed_s: float, patience_s: float, repeatable: bool, jitter: float
) -> float | None:
    """Seconds to wait before the next try, or None to give up.

    `tries` counts those made, `jitter` lies in [0, 1). The server's Retry-After is a lower bound;
    one that goes past `patience_s` ends the tries at once, so that the caller learns it early.
    """
    if not worth_repeating(error, repeatable=repeatable):
        return None
    growing = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(tries - 1, 10)) * (0.5 + jitter / 2)
    pause = max(growing, error.retry_after_s or 0.0)
    return pause if elapsed_s + pause <= patience_s else None


def worth_repeating(error: PenstockError, *, repeatable: bool) -> bool:
    """True where a repetition can succeed and cannot do the work twice."""
    if isinstance(error, Unreachable):
        return repeatable or not error.sent
    if isinstance(error, Busy | Away):
        # 429 and 503 say that nothing was done; a proxy's 502 or 504 leaves it open.
        return repeatable or error.status in (429, 503)
    return False


def persist(
    attempt: Attempt[Answer],
    *,
    patience_s: float,
    repeatable: bool,
    clock: Callable[[], float],
    sleep: Sleep,
    jitter: Callable[[], float],
) -> Answer:
    """Call `attempt` until it returns, or raises what is not worth repeating."""
    began, tries = clock(), 0
    while True:
        tries += 1
        try:
            return attempt()
        except PenstockError as error:
            pause = pause_before_retry(
                error,
                tries=tries,
                elapsed_s=clock() - began,
                patience_s=patience_s,
                repeatable=repeatable,
                jitter=jitter(),
            )
            if pause is None:
                raise
            sleep(pause)


def seconds(retry_after: str) -> float | None:
    """Retry-After's number; its other form, a date, needs clocks that agree and is not used here."""
    try:
        return float(retry_after)
    except ValueError:
        return None
