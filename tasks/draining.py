"""The broker's dead letters become failed jobs: what it gave up is never left to rot in its queue.

RabbitMQ gives a message up that was delivered too often, or that a policy of its operator lets expire. Each is taken
from its queue only after its job has failed, or after it was noted as what is no job: a crash in between does it again.
"""

import logging
from typing import Any

import msgspec

from errors import AttemptsExhausted, PenstockError
from storage.connection import Client
from storage.job import Job
from storage.jobs import JobStore
from storage.refused import Refused
from tasks import message as messages
from tasks.link import connected
from tasks.message import Message
from tasks.signing import Signing
from tasks.ticking import Ticking
from tasks.topology import DEAD_QUEUE, declare

log = logging.getLogger(__name__)

#: Messages taken in one tick.
LIMIT = 200
#: Why the broker gave a message up that a running job may have come by: it is nobody's any more.
DELIVERED = ("delivery_limit", "rejected")


class Undertaker:
    """What becomes of one dead letter of the broker."""

    def __init__(self, jobs: JobStore, refused: Refused, signing: Signing | None = None) -> None:
        self._jobs = jobs
        self._signing = signing
        self._refused = refused

    def bury(self, body: bytes, *, queue: str, reason: str) -> None:
        """Doing it twice does no harm; raises StoreUnavailable."""
        try:
            if self._signing is not None:
                self._signing.check(body)
            message = messages.decode(body)
        except PenstockError as error:
            self._refused.note(body, queue=queue, reason=f"given up by the broker ({reason}); {error.detail}")
            return
        job = self._record(message, body)
        if job is None:
            return
        if job.tenant != message.tenant or job.queue != message.queue:
            detail = f"given up by the broker ({reason}); it names job {job.id}, which is another's"
            self._refused.note(body, queue=queue, reason=detail)
            return
        given_up = AttemptsExhausted(f"the broker gave its message up: {reason.replace('_', ' ')}")
        problem = msgspec.json.encode(given_up.problem())
        after = self._jobs.fail(job, problem, running=reason in DELIVERED)
        log.warning("message given up by the broker", extra={"job": job.id, "reason": reason, "job_is": str(after)})

    def _record(self, message: Message, body: bytes) -> Job | None:
        """Its record, made from the message where there is none; None for a submission that was withdrawn."""
        job = self._jobs.get(message.id)
        if job is None:
            self._jobs.create(message.record(body, now_ms=self._jobs.now_ms()))
            job = self._jobs.get(message.id)
        return job


class Drain(Ticking):
    """Takes the broker's dead letters, on a connection of its own."""

    def __init__(self, undertaker: Undertaker, broker_url: str, client: Client) -> None:
        super().__init__("drain", client)
        self._undertaker = undertaker
        self._url = broker_url
        self._connection: Any = None
        self._channel: Any = None

    def work(self) -> None:
        try:
            self.drain()
        except Exception:
            self.close()
            raise

    def drain(self) -> int:
        """Take what there is; returns how many."""
        if self._channel is None:
            self._connection = connected(self._url)
            declare(self._connection, [])
            self._channel = self._connection.channel()
        for count in range(LIMIT):
            found = self._channel.basic_get(DEAD_QUEUE, no_ack=False)
            if found is None:
                return count
            body = found.body if isinstance(found.body, bytes) else found.body.encode(errors="surrogateescape")
            queue, reason = cause((found.headers or {}).get("x-death"))
            self._undertaker.bury(body, queue=queue, reason=reason)
            # Ack after storing: a crash repeats work, it never loses it.
            self._channel.basic_ack(found.delivery_tag)
        return LIMIT

    def close(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            connection.collect(socket_timeout=0.1)


def cause(deaths: Any) -> tuple[str, str]:
    """Queue and reason of a message's newest death (https://www.rabbitmq.com/docs/dlx#effects)."""
    newest = deaths[0] if isinstance(deaths, list) and deaths and isinstance(deaths[0], dict) else {}
    return str(newest.get("queue", DEAD_QUEUE)), str(newest.get("reason", "pushed to the dead-letter queue"))
