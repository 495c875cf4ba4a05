"""From results to records: what each job's execution means for it, and telling the store until it has heard.

Ack after storing: a crash in between repeats work, it never loses it.
"""

import logging
import random
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import msgspec

from errors import JobFailure, ModelError, PenstockError, StoreUnavailable
from storage.clock import wall_ms
from storage.job import Status
from storage.jobs import Claim, JobStore, Outcome, Return
from tasks.message import Message
from workers import wire

log = logging.getLogger(__name__)

#: Delay before an attempt that follows a failure: doubles from the first, up to the second, seconds.
RETRY_FIRST_S, RETRY_MOST_S = 1.0, 60.0
#: Delay before an attempt that waits for a part of the farm (the object store), seconds.
RETRY_AWAY_S = 5.0
#: Between tries to reach a store that is away, seconds.
STORE_PAUSE_S = 0.5

T = TypeVar("T")


class Stopped(Exception):
    """The worker is stopping and the store still does not answer."""


def decide(
    message: Message, claim: Claim, result: wire.Result, *, compute_ms: float, now_ms: int, jitter: float
) -> Outcome | Return:
    """What to commit for one result: its outputs, its failure, or another attempt later.

    `jitter` in [0, 1) spreads the delay over its upper half.
    """
    if not result.error:
        return Outcome(
            id=message.id, queue=message.queue, token=claim.token, status=Status.SUCCEEDED,
            outputs=result.outputs, outputs_key=result.outputs_key, compute_ms=compute_ms, steps=result.steps,
            written=result.written,
        )  # fmt: skip
    failures = int(result.charged)
    if result.retryable and (not result.charged or claim.failures + 1 < message.max_attempts):
        delay_s = delay(claim.failures, jitter) if result.charged else RETRY_AWAY_S
        return Return(
            id=message.id, queue=message.queue, token=claim.token,
            not_before_ms=now_ms + round(delay_s * 1000), failures=failures, interruptions=int(not result.charged),
            written=result.written,
        )  # fmt: skip
    return Outcome(
        id=message.id, queue=message.queue, token=claim.token, status=Status.FAILED,
        error=result.error, compute_ms=compute_ms, failures=failures, steps=result.steps, written=result.written,
    )  # fmt: skip


def delay(failures: int, jitter: float) -> float:
    """Seconds before the attempt that follows `failures` + 1 failures."""
    return float(min(RETRY_MOST_S, RETRY_FIRST_S * 2**failures) * (0.5 + jitter / 2))


def failed(error: JobFailure) -> wire.Result:
    """The result of a job that the worker itself has to fail."""
    return wire.Result(error=problem(error))


def problem(error: PenstockError) -> bytes:
    return msgspec.json.encode(error.problem())


class Committer:
    """Tells the store, waiting for it while it is away; raises Stopped only when the worker is to end meanwhile."""

    def __init__(self, jobs: JobStore, stopping: threading.Event) -> None:
        self._jobs = jobs
        self._stopping = stopping

    def commit(
        self, messages: Sequence[tuple[Message, Claim]], results: Sequence[wire.Result], *, compute_ms: float
    ) -> None:
        now = wall_ms()
        decisions = [
            decide(message, claim, result, compute_ms=compute_ms, now_ms=now, jitter=random.random())  # nosec B311 # no secret
            for (message, claim), result in zip(messages, results, strict=True)
        ]
        outcomes = [one for one in decisions if isinstance(one, Outcome)]
        returns = [one for one in decisions if isinstance(one, Return)]
        if stepped := [one for one in outcomes if one.steps]:
            self.insist(lambda: self._jobs.note_steps(stepped))
        if outcomes:
            for outcome, stands in zip(outcomes, self.insist(lambda: self._jobs.finish_all(outcomes)), strict=True):
                if stands == "stale":
                    log.warning("commit refused: another attempt holds the job", extra={"job": outcome.id})
                if stands != Status.SUCCEEDED:
                    self._forget_objects(outcome.outputs_key, *outcome.written)
        if returns:
            self.insist(lambda: self._jobs.requeue_all(returns))
            self._forget_objects(*[key for one in returns for key in one.written])

    def drop(self, message: Message, claim: Claim | None) -> None:
        """A job that this worker cannot handle, for a reason that it does not understand, fails."""
        log.error("job dropped", extra={"job": message.id})
        if claim is None:
            return
        error = problem(ModelError("the worker could not handle it; its log says more"))
        outcome = Outcome(id=message.id, queue=message.queue, token=claim.token, status=Status.FAILED, error=error)
        try:
            self.insist(lambda: self._jobs.finish_all([outcome]))
        # What could not be handled may be this very thing.
        except Exception:
            log.exception("job could not be failed", extra={"job": message.id})

    def _forget_objects(self, *keys: str) -> None:
        """No record points at this attempt's outputs, and no other attempt wrote there: the relay erases them."""
        for key in filter(None, keys):
            self.insist(partial(self._jobs.schedule, "object:" + key, at_ms=self._jobs.now_ms()))

    def insist(self, step: Callable[[], T]) -> T:
        """Do a step of the store, again and again while it is away."""
        told = False
        while True:
            try:
                return step()
            except StoreUnavailable as error:
                if not told:
                    log.warning("waiting for the job store", extra={"reason": error.detail})
                    told = True
                if self._stopping.wait(STORE_PAUSE_S):
                    raise Stopped from error
