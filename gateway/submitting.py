"""Accepting jobs: the record first, then the message, and the word to the client after both.

A job is accepted when Redis holds its record and the broker has confirmed its message. When the second fails the
first is withdrawn; unless a worker was faster, which shows that the message did arrive.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from errors import BrokerUnavailable, IdempotencyMismatch, PenstockError, QueueFull, ResultExpired, StoreUnavailable
from gateway.accepting import NEW, Acceptor, Entry, Idempotency, Prepared
from gateway.confirmations import confirmations
from gateway.inputs import Inputs
from gateway.quotas import Toll, too_many
from gateway.resolving import Resolver
from gateway.submission import Input, Submission
from gateway.suspending import Signal, blocking
from gateway.withdrawals import Withdrawals
from models.catalog import Entry as Version
from models.signature import check, measure
from storage.clock import wall_ms
from storage.job import Job, Status
from storage.jobs import Creation, JobStore
from tasks.message import VERSION, Message, Webhook, decode, new_id
from tasks.publisher import Publisher
from tasks.signing import Signing
from tasks.ticket import Outgoing
from tasks.webhooks.addresses import Policy, check_url

log = logging.getLogger(__name__)

#: Seconds that a client is told to wait when a lane is full.
FULL_RETRY_AFTER_S = 4.0
#: Seconds between two looks at a job that another request is just submitting: the first pause and the longest.
FIRST_LOOK_S, LONGEST_LOOK_S = 0.005, 0.1


class Submitted(NamedTuple):
    job: Job
    message: Message
    #: 1: the next of its lane; None: not known.
    position: int | None
    #: True where an Idempotency-Key led to a job that was there already.
    replayed: bool = False


class Submitter:
    """The way of a submission into store and broker."""

    def __init__(
        self, *, jobs: JobStore, inputs: Inputs, resolver: Resolver, publisher: Publisher, policy: Policy,
        toll: Toll, deadline_s: float, signing: Signing | None = None,
        now_ms: Callable[[], int] = wall_ms,
    ) -> None:  # fmt: skip
        self._jobs = jobs
        self._inputs = inputs
        self._resolver = resolver
        self._policy = policy
        self._toll = toll
        self._publisher = publisher
        self._acceptor = Acceptor(jobs, publisher, deadline_s=deadline_s, in_flight=lambda: toll.in_flight)
        self._deadline_s = deadline_s
        self._signing = signing
        self._now_ms = now_ms
        self.withdrawals = Withdrawals(jobs)
        self.confirmations = confirmations(jobs)

    async def prepare(
        self, submission: Submission, inputs: Mapping[str, Input], *,
        tenant: str, id: str = "", moved: Sequence[str] = (), traceparent: str = "",
        entry: Version | None = None,
    ) -> Prepared:  # fmt: skip
        """Check a submission against its model and build its message; `entry`: its version, where that is known.

        Raises UnknownModel, NotLoaded, InvalidInput, Away.
        """
        entry = entry or self._resolver.get(submission.model, submission.version)
        manifest, limits = entry.manifest, entry.manifest.limits
        values = {name: given.value for name, given in inputs.items()}
        rows, measured = check(manifest, values), measure(manifest, values)
        id, now, kept = id or new_id(), self._now_ms(), list(moved)
        webhook = submission.webhook
        if webhook is not None:
            check_url(webhook.url, self._policy)
        settled = self._inputs.inline(inputs)
        if settled is None:
            settled = await blocking(lambda: self._settle(inputs, tenant, id, kept))
        message = Message(
            v=VERSION,
            id=id,
            model=submission.model,
            version=entry.version,
            inputs=settled,
            pool=manifest.pools[0],
            priority=submission.priority,
            tenant=tenant,
            parameters=submission.parameters,
            created_ms=now,
            queue_ttl_s=submission.queue_ttl_s,
            # None: the model's own, which the worker knows; a million messages wait in memory.
            timeout_s=min(submission.timeout_s, limits.timeout_s) if submission.timeout_s else None,
            deadline=submission.deadline,
            max_attempts=min(submission.max_attempts or limits.max_attempts, limits.max_attempts),
            result_ttl_s=submission.result_ttl_s,
            metadata=submission.metadata,
            webhook=None if webhook is None else Webhook(webhook.url, webhook.events),
            traceparent=traceparent,
            rows=rows,
            weight=measured.weight,
            shape=measured.shape,
        )
        body = message.encode() if self._signing is None else self._signing.sign(message.encode())
        return Prepared(message, body, message.record(body, now_ms=now), limits.queue, kept)

    def _settle(self, inputs: Mapping[str, Input], tenant: str, job: str, moved: list[str]) -> msgspec.Raw:
        try:
            return self._inputs.settle(inputs, tenant=tenant, job=job, moved=moved)
        except PenstockError:
            self._inputs.erase(moved)
            raise

    async def submit(self, prepared: Prepared, idempotency: Idempotency | None = None) -> Submitted:
        """Accept one job; raises Busy, IdempotencyMismatch, StoreUnavailable or BrokerUnavailable."""
        (outcome,) = await self.submit_all([(prepared, idempotency)])
        if isinstance(outcome, PenstockError):
            raise outcome
        return outcome

    async def submit_all(
        self, wanted: Sequence[tuple[Prepared, Idempotency | None]]
    ) -> list[Submitted | PenstockError]:
        """Accept many jobs; an outcome for each, in order."""
        return [await self._outcome(entry) for entry in await self._acceptor.accept(wanted)]

    def close(self) -> None:
        self._acceptor.close()
        self.withdrawals.close()
        self.confirmations.close()

    async def _outcome(self, entry: Entry) -> Submitted | PenstockError:
        error, prepared, creation = entry.outcome(), entry.prepared, entry.creation
        if creation is None:
            await blocking(lambda: self._disown(prepared))
            return error or StoreUnavailable()
        if creation.verdict in NEW:
            if error is not None and await blocking(lambda: self._withdraw(prepared)):
                return error
            if entry.idempotency is not None:
                self.confirmations.add([prepared.record.id])
            return accepted(prepared, creation)
        if prepared.moved:
            await blocking(lambda: self._inputs.erase(prepared.moved))
        if creation.verdict != "same":
            return refusal(prepared, creation, self._toll.of(prepared.record.tenant).max_in_flight)
        try:
            return await self._follow(creation.detail)
        except PenstockError as refused:
            return refused

    def _withdraw(self, prepared: Prepared) -> bool:
        """Take the record back, now or once the store answers; False where a worker has the job already."""
        try:
            status = self._jobs.withdraw(prepared.record)
        except StoreUnavailable:
            self._disown(prepared)
            return True
        if status is not Status.WITHDRAWN:
            return False
        self._inputs.erase(prepared.moved)
        return True

    def _disown(self, prepared: Prepared) -> None:
        """Refuse a submission whose record may or may not be there: the store's answer is missing."""
        self.withdrawals.add(prepared.record)
        self._inputs.erase(prepared.moved)

    async def _follow(self, id: str) -> Submitted:
        """The job that another request with the same Idempotency-Key made, once the broker has confirmed it."""
        deadline, pause = time.monotonic() + self._deadline_s, FIRST_LOOK_S
        # The other request may be in another process, which announces nothing; it needs milliseconds.
        while not await blocking(lambda: self._jobs.confirmed(id)):
            if time.monotonic() > deadline:
                await blocking(lambda: self._finish_for_another(id))
                break
            await Signal[None]().within(pause)
            pause = min(pause * 2, LONGEST_LOOK_S)
        job = await blocking(lambda: self._jobs.get(id))
        if job is None:
            raise BrokerUnavailable("the first request with this Idempotency-Key was not accepted", retry_after_s=2)
        if job.erased:
            raise ResultExpired(f"job {id}, which this Idempotency-Key made, was erased; send it under another key")
        return Submitted(job, decode(job.message), None, replayed=True)

    def _finish_for_another(self, id: str) -> None:
        """Publish the message of a request that never came to it: a message that arrives twice is run once."""
        job = self._jobs.get(id)
        if job is not None:
            (error,) = self._publisher.publish([Outgoing(job.queue, job.id, job.message)])
            if error is not None:
                raise error
            self._jobs.confirm(id)


def accepted(prepared: Prepared, creation: Creation) -> Submitted:
    record = prepared.record
    job = Job(
        id=record.id,
        tenant=record.tenant,
        queue=record.queue,
        status=Status.QUEUED,
        message=record.message,
        created_ms=record.created_ms,
        queued_ms=record.created_ms,
    )
    return Submitted(job, prepared.message, int(creation.detail) if creation.verdict == "created" else None)


def refusal(prepared: Prepared, creation: Creation, most: int) -> PenstockError:
    """`most`: jobs that the tenant may have in flight."""
    if creation.verdict == "quota":
        return too_many(prepared.record.tenant, creation.detail, most)
    if creation.verdict == "mismatch":
        return IdempotencyMismatch(f"this Idempotency-Key made job {creation.detail} from another body")
    return QueueFull(
        f"{creation.detail} jobs of model {prepared.message.model!r} wait with priority {prepared.message.priority}; "
        f"its limit is {prepared.limit}",
        retry_after_s=FULL_RETRY_AFTER_S,
    )
