"""Sending what is due to one target, one delivery after another, and noting what came of each."""

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from errors import NotFound, TargetRefused, Unreachable
from storage.deliveries import Attempt, Came, Deliveries, Delivery, Taken
from storage.webhooks import DEFAULT, FAILING, GONE, Endpoint, Endpoints
from tasks.webhooks import schedule, signing
from tasks.webhooks.sending import Answer

log = logging.getLogger(__name__)

#: How long one task goes on for a target before others have their turn, seconds.
TURN_S = 10.0
#: Characters of an answer, and of an error, that are kept.
KEPT = 512
AGENT = "Penstock-Webhooks/1"


class Post(Protocol):
    def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """POST once; raises TargetRefused or Unreachable."""


class Deliverer:
    """Sends; any number of threads and processes may do so for the same target. `stop` lets each end after the
    sending at hand."""

    def __init__(
        self, endpoints: Endpoints, deliveries: Deliveries, post: Post, *,
        chance: Callable[[], float] = random.random, clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._endpoints = endpoints
        self._deliveries = deliveries
        self._post = post
        self._chance = chance
        self._clock = clock
        self.stop = threading.Event()

    def drain(self, target: str) -> int:
        """Send what is due to `target` until nothing is, or others have waited long enough; how much was sent."""
        sent, until = 0, self._clock() + TURN_S
        while not self.stop.is_set():
            if self._clock() >= until:
                self._deliveries.wake(target)
                break
            taken = self._deliveries.take(target)
            if taken is None:
                break
            self.send(taken)
            sent += 1
        return sent

    def send(self, taken: Taken) -> Came:
        """Send one delivery and note what came of it."""
        delivery = taken.delivery
        endpoint = self._endpoint(delivery)
        if endpoint is None or endpoint.disabled:
            error = "the endpoint is disabled" if endpoint else "the endpoint was removed"
            return self._deliveries.attempted(taken, self._ended(error=error), "dropped")
        attempt, outcome, retry_after_s = self._attempt(delivery, endpoint)
        next_ms = schedule.next_ms(
            taken.number - delivery.before, now_ms=self._deliveries.now_ms(), retry_after_s=retry_after_s,
            chance=self._chance,
        )  # fmt: skip
        came = self._deliveries.attempted(taken, attempt, outcome, next_ms=next_ms)
        log.log(
            logging.INFO if outcome == "delivered" else logging.WARNING, "webhook sent",
            extra={
                "webhook": delivery.id, "job": delivery.job, "target": delivery.target, "outcome": outcome,
                "status": attempt.status, "ms": round(attempt.latency_ms, 1), "state": came.state,
            },
        )  # fmt: skip
        self._judge(delivery, outcome, came)
        return came

    def _endpoint(self, delivery: Delivery) -> Endpoint | None:
        """Whose secrets sign it; None where the endpoint was removed."""
        if delivery.endpoint:
            return self._endpoints.find(delivery.tenant, delivery.endpoint)
        return self._endpoints.default(delivery.tenant)

    def _attempt(self, delivery: Delivery, endpoint: Endpoint) -> tuple[Attempt, str, float | None]:
        """The sending's record, its outcome, and what `Retry-After` said."""
        now_ms = self._deliveries.now_ms()
        headers = signing.headers(
            delivery.id, timestamp_s=now_ms // 1000, body=delivery.body, secrets=endpoint.signing(now_ms)
        )
        try:
            # An endpoint's address may have been changed since; that of a job cannot.
            answer = self._post(
                endpoint.url or delivery.url,
                {"content-type": "application/json", "user-agent": AGENT, **headers},
                delivery.body,
            )
        except (Unreachable, TargetRefused) as error:
            return self._ended(at_ms=now_ms, error=error.detail), "failed", None
        good = 200 <= answer.status < 300
        attempt = self._ended(
            at_ms=now_ms, status=answer.status, latency_ms=round(answer.latency_ms, 3),
            answer=answer.excerpt.decode(errors="replace"), error="" if good else fault(answer.status),
        )  # fmt: skip
        outcome = "delivered" if good else "gone" if answer.status == 410 else "failed"
        return attempt, outcome, answer.retry_after_s

    def _ended(
        self, *, at_ms: int = 0, status: int = 0, latency_ms: float = 0.0, answer: str = "", error: str = ""
    ) -> Attempt:  # fmt: skip
        return Attempt(
            at_ms=at_ms or self._deliveries.now_ms(), status=status, latency_ms=latency_ms, answer=answer[:KEPT],
            error=error[:KEPT], ended=True,
        )  # fmt: skip

    def _judge(self, delivery: Delivery, outcome: str, came: Came) -> None:
        """Disable an endpoint that is gone, or from which nothing but failures came back for days."""
        now_ms = self._deliveries.now_ms()
        failing = outcome == "failed" and schedule.given_up(came.failing_ms, now_ms=now_ms)
        if delivery.endpoint in ("", DEFAULT) or not (outcome == "gone" or failing):
            return
        reason = GONE if outcome == "gone" else FAILING
        try:
            self._endpoints.change(delivery.tenant, delivery.endpoint, lambda one: one.disable(reason, now_ms=now_ms))
        except NotFound:
            return  # it was removed while it answered
        log.warning("webhook endpoint disabled", extra={"endpoint": delivery.endpoint, "reason": reason})


def fault(status: int) -> str:
    """Why an answer is no success."""
    if 300 <= status < 400:
        return f"answered {status}; redirects are not followed"
    return f"answered {status}"
