"""When a request is worth repeating, and after how long; pure policy, the clock stands outside.

Written by `python -m client.twin` from penstock.retry: change that.
"""

from collections.abc import Awaitable, Callable

from penstock.errors import PenstockError
from penstock.retry import Answer, pause_before_retry

Attempt = Callable[[], Awaitable[Answer]]

Sleep = Callable[[float], Awaitable[None]]


async def persist(
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
            return await attempt()
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
            await sleep(pause)
