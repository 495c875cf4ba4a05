"""Jobs that wait in a batcher and can no longer start in time end at once, not when their turn comes."""

import logging
import threading
from collections.abc import Callable, Sequence

from errors import StoreUnavailable
from storage.clock import wall_ms
from storage.job import TERMINAL, Job, Status
from storage.jobs import JobStore
from workers.batcher import Batcher
from workers.hands import Hands
from workers.lane import Delivery
from workers.stepping import Work, jobs_of

log = logging.getLogger(__name__)

#: Between two looks at the clock, seconds.
TICK_S = 0.25


def expire_late(batcher: Batcher[Work], hands: Hands, jobs: JobStore, *, now_ms: int) -> bool:
    """Expire the waiting jobs whose time to start has passed, and settle them; whether there were any.

    The record has the last word: a retry may have given the job more time, and one that has started was in time
    however often it runs again. Raises StoreUnavailable; then they are late still at the next look.
    """
    late = jobs_of(batcher.late(now_ms))
    if not late:
        return False
    over = {id(delivery) for delivery, job in zip(late, records(jobs, late), strict=True) if ends(delivery, job, jobs)}
    # One that was taken meanwhile is settled by its claim.
    hands.settle(jobs_of(batcher.discard(lambda work: id(work) in over)))
    return bool(over)


def records(jobs: JobStore, late: Sequence[Delivery]) -> list[Job | None]:
    """Their records; made from the message where a job was pushed straight to the queue."""
    found = jobs.get_all([delivery.message.id for delivery in late])
    if missing := [delivery for delivery, job in zip(late, found, strict=True) if job is None]:
        jobs.create_all((d.record(), 0) for d in missing)
        found = jobs.get_all([delivery.message.id for delivery in late])
    return found


def ends(delivery: Delivery, job: Job | None, jobs: JobStore) -> bool:
    """Whether a job is over, by its record, or now expires."""
    if job is not None and job.status in TERMINAL:
        return True
    if job is None or job.status is not Status.QUEUED or job.started_ms:
        # Not to be judged by the clock; its claim will say.
        delivery.start_by_ms = 0
        return False
    delivery.start_by_ms = job.start_by_ms
    return jobs.expire(job) in TERMINAL


class Expiry:
    """A thread that looks at all batchers of a worker now and then."""

    def __init__(
        self,
        batchers: Callable[[], Sequence[tuple[Batcher[Work], Hands]]],
        jobs: JobStore,
        *,
        flush: Callable[[], None],
    ) -> None:
        self._batchers = batchers
        self._flush = flush
        self._jobs = jobs
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="expiry", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        away = False
        while not self._stopping.wait(TICK_S):
            try:
                late = [expire_late(*one, self._jobs, now_ms=wall_ms()) for one in self._batchers()]
                away = False
            except StoreUnavailable as error:
                if not away:
                    log.warning("late jobs wait for the job store", extra={"reason": error.detail})
                away = True
                continue
            if any(late):
                self._flush()
