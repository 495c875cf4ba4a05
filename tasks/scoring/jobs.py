"""A scoring's shards as jobs: published, run a second time, canceled, forgotten."""

from collections.abc import Iterable, Sequence

import msgspec

from storage.job import Job
from storage.jobs import JobStore
from storage.scoring import Spec
from tasks.message import VERSION, Lane, Message
from tasks.message import Shard as Rows
from tasks.publisher import Publisher
from tasks.scoring.shard import Places, Shard, job_id
from tasks.signing import Signing
from tasks.ticket import Outgoing

#: Attempts of a shard's job that end with an error of the model, before it is run in halves.
MAX_ATTEMPTS = 2


class ShardJobs:
    """Methods raise StoreUnavailable, and BrokerUnavailable where something is published."""

    def __init__(self, spec: Spec, jobs: JobStore, publisher: Publisher, signing: Signing | None) -> None:
        self._spec = spec
        self._jobs = jobs
        self._publisher = publisher
        self._signing = signing
        self._places = Places(spec.tenant, spec.id)

    def publish(self, shard: Shard, suffixes: Iterable[str]) -> None:
        """Make the records, where there are none, and publish the messages: another of one makes no difference."""
        outgoing = [self._made(shard, suffix) for suffix in suffixes]
        for error in self._publisher.publish(outgoing):
            if error is not None:
                raise error

    def _made(self, shard: Shard, suffix: str) -> Outgoing:
        message = self.message(shard, suffix)
        body = message.encode() if self._signing is None else self._signing.sign(message.encode())
        self._jobs.create(message.record(body, now_ms=self._jobs.now_ms()))
        return Outgoing(message.queue, message.id, body)

    def message(self, shard: Shard, suffix: str) -> Message:
        spec = self._spec
        lane: Lane = spec.priority  # type: ignore[assignment]
        return Message(
            v=VERSION, id=job_id(spec.id, shard.number, suffix), tenant=spec.tenant, model=spec.model,
            version=spec.version, pool=spec.pool, priority=lane, inputs=msgspec.Raw(b"{}"), parameters=spec.parameters,
            created_ms=self._jobs.now_ms(), max_attempts=MAX_ATTEMPTS, rows=shard.rows,
            shard=Rows(shard.rows_key, self._places.output_of(shard.number, suffix), spec.id),
        )  # fmt: skip

    def get_all(self, wanted: Sequence[tuple[int, str]]) -> list[Job | None]:
        return self._jobs.get_all([self.id(*one) for one in wanted]) if wanted else []

    def cancel(self, job: Job) -> None:
        self._jobs.cancel(job)

    def forget(self, ids: Sequence[str]) -> None:
        if ids:
            self._jobs.forget(*ids)

    def id(self, number: int, suffix: str) -> str:
        return job_id(self._spec.id, number, suffix)
