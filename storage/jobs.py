"""The job store: records in Redis, changed only by the Lua scripts beside this file.

Redis knows what happened to a job; the broker knows who works on it. Every change checks the state
it comes from and, where a worker asks, the attempt token, in one script: two that race have one winner.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from storage import keys
from storage.clock import wall_ms
from storage.connection import Client, store_errors
from storage.job import Job, NewJob, Status
from storage.scripts import Call, Scripts

#: How long an Idempotency-Key is remembered, seconds.
IDEMPOTENCY_TTL_S = 24 * 3600
#: How long a deleted or expired job still answers 410, seconds.
TOMBSTONE_S = 7 * 24 * 3600
#: How long a withdrawn submission is remembered, so that its message is dropped should it have arrived, seconds.
WITHDRAWN_S = 24 * 3600
#: After how long inputs are erased whose job was never accepted, milliseconds: far longer than a submit may take.
SWEEP_MS = 3_600_000
#: Most jobs that one script handles: Redis serves nobody else meanwhile (measured: 5 µs a job).
TOGETHER = 256


class Creation(NamedTuple):
    #: "created", "exists" (this id is known), "same" (this Idempotency-Key made the job `id`), "mismatch", "full" or
    #: "quota".
    verdict: str
    #: The job's id; after "created" and "full": how many jobs wait in the lane; after "quota": how many of its
    #: tenant's are queued or running.
    detail: str


class Verdict(StrEnum):
    """What a claim answers."""

    RUN = "run"
    #: There is no record: create it from the message, then claim again.
    MISSING = "missing"
    #: Terminal, or erased: drop the message.
    DONE = "done"
    #: Someone else runs it and the broker did not redeliver: this message is one too many.
    DUPLICATE = "duplicate"
    #: It waits for a retry that the relay will publish: drop the message.
    EARLY = "early"
    EXPIRED = "expired"
    CANCELED = "canceled"
    #: It lost the worker that ran it too often, and alone; it failed.
    LOST = "lost"


class Standing(StrEnum):
    """Whose a job is that somebody claimed."""

    OURS = "ours"
    #: Canceled meanwhile: whatever it comes to, that is its end.
    CANCELED = "canceled"
    #: Another attempt holds it, or it has ended.
    LOST = "lost"


class Claim(NamedTuple):
    verdict: Verdict
    token: int = 0
    #: Executions that ended with an error of the model, before this one.
    failures: int = 0
    #: It lost several workers: it must not run beside others.
    alone: bool = False
    #: Who wants to hear of its end (`tasks.reply`).
    reply: str = ""


class Held(NamedTuple):
    """A running job, and who has it."""

    id: str
    #: `<worker>/…`, names the delivery.
    holder: str
    started_ms: int

    @property
    def worker(self) -> str:
        return self.holder.partition("/")[0]


class Want(NamedTuple):
    """A claim asked for."""

    id: str
    queue: str
    redelivered: bool
    #: Names this delivery: a claim asked again by its own holder (its answer was lost) is answered alike.
    holder: str


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One execution's end, as the worker commits it."""

    id: str
    queue: str
    token: int
    status: Status
    outputs: bytes = b""
    outputs_key: str = ""
    error: bytes = b""
    compute_ms: float = 0.0
    failures: int = 0
    #: Of a pipeline: what its steps took, JSON.
    steps: bytes = b""
    #: Keys of objects that this execution wrote, besides `outputs_key`: of no use unless it succeeded.
    written: tuple[str, ...] = ()


class Return(msgspec.Struct, frozen=True, kw_only=True):
    """One execution given back to the queue."""

    id: str
    queue: str
    token: int
    #: 0: its message goes back to the broker at once.
    not_before_ms: int = 0
    failures: int = 0
    #: It could not run for what is no fault of the job.
    interruptions: int = 0
    #: Keys of objects that it left behind.
    written: tuple[str, ...] = ()


class Asked(Protocol):
    """What a worker wants of one job."""

    @property
    def id(self) -> str: ...
    @property
    def queue(self) -> str: ...


A = TypeVar("A")
G = TypeVar("G", bound=Hashable)

_encoder = msgspec.msgpack.Encoder()
_claims = msgspec.msgpack.Decoder(list[Claim])
_words = msgspec.msgpack.Decoder(list[str])
_creations = msgspec.msgpack.Decoder(list[Creation])


class Due(NamedTuple):
    #: `<kind>:<id>`.
    member: str
    at_ms: int


class Page(NamedTuple):
    jobs: list[Job]
    #: Where the next page begins, or "" at the end.
    cursor: str


def chunked(groups: Iterable[G]) -> list[tuple[G, list[int]]]:
    """What one script handles each: numbers of those of one group, TOGETHER at most."""
    found: dict[G, list[int]] = {}
    for index, group in enumerate(groups):
        found.setdefault(group, []).append(index)
    return [
        (group, indexes[begin : begin + TOGETHER])
        for group, indexes in found.items()
        for begin in range(0, len(indexes), TOGETHER)
    ]


class JobStore:
    """Records of jobs. Every method raises StoreUnavailable when Redis does not answer."""

    def __init__(self, client: Client, *, now_ms: Callable[[], int] = wall_ms) -> None:
        self._client = client
        self._scripts = Scripts(client)
        self.now_ms = now_ms

    # -- submitting ---------------------------------------------------------------------------------------------

    def create(self, job: NewJob, *, queue_limit: int = 0, idempotency_key: str = "", body: str = "") -> Creation:
        """Make the record, unless its id or its tenant's Idempotency-Key is known; `body` is the body's digest."""
        (creation,) = self.create_all([(job, queue_limit)], idempotency=[(idempotency_key, body)])
        return creation

    def create_all(
        self,
        jobs: Iterable[tuple[NewJob, int]],
        *,
        idempotency: Sequence[tuple[str, str]] = (),
        in_flight: Mapping[str, int] | None = None,
    ) -> list[Creation]:
        """Make many records in one round trip; with each job its queue's limit.

        `idempotency`: nothing, or for each job its Idempotency-Key and its body's digest. `in_flight`: how many jobs
        a tenant may have queued and running, where there is a limit.
        """
        most = in_flight or {}
        wanted = list(jobs)
        given = idempotency or [("", "")] * len(wanted)
        chunks = chunked((job.tenant, job.queue, limit) for job, limit in wanted)
        calls = [
            self._create(
                group,
                [wanted[index][0] for index in indexes],
                [given[index] for index in indexes],
                in_flight=most.get(group[0], 0),
            )
            for group, indexes in chunks
        ]
        found: dict[int, Creation] = {}
        with store_errors():
            for (_, indexes), answer in zip(chunks, self._scripts.run_all(calls), strict=True):
                found.update(zip(indexes, _creations.decode(answer), strict=True))
        return [found[index] for index in range(len(wanted))]

    def _create(
        self, group: tuple[str, str, int], jobs: Sequence[NewJob], given: Sequence[tuple[str, str]], *, in_flight: int
    ) -> Call:
        tenant, queue, limit = group
        rows = [
            (job.id, job.created_ms, job.start_by_ms, job.result_ttl_s, body, job.webhook, job.scoring, job.reply)
            for job, (_, body) in zip(jobs, given, strict=True)
        ]
        return Call(
            "create",
            (
                keys.tenant_jobs(tenant), keys.waiting(queue), keys.DUE, keys.QUEUES, keys.IN_FLIGHT,
                *[keys.job(job.id) for job in jobs],
                *[keys.idempotency(tenant, key) if key else "" for key, _ in given],
            ),
            (tenant, queue, limit, in_flight, IDEMPOTENCY_TTL_S, _encoder.encode(rows), *[job.message for job in jobs]),
        )  # fmt: skip

    def withdraw(self, job: NewJob) -> Status | None:
        """Take back a submission that the broker did not confirm; the status tells whether a worker was faster."""
        call = Call(
            "withdraw",
            (keys.job(job.id), keys.tenant_jobs(job.tenant), keys.waiting(job.queue), keys.DUE, keys.IN_FLIGHT),
            (job.id, WITHDRAWN_S),
        )
        return self._status(call)

    def confirm(self, *ids: str) -> None:
        """Note that the broker confirmed submissions that others may be waiting on (same Idempotency-Key)."""
        groups = [ids[begin : begin + TOGETHER] for begin in range(0, len(ids), TOGETHER)]
        with store_errors():
            self._scripts.run_all([Call("confirm", [keys.job(id) for id in group], ()) for group in groups])

    def confirmed(self, id: str) -> bool:
        """Whether the submission is known to have reached the broker."""
        with store_errors():
            confirmed, attempt, status = self._client.hmget(keys.job(id), ["confirmed", "attempt", "status"])
        return bool(confirmed or attempt) or (status is not None and status != b"queued")

    # -- reading ------------------------------------------------------------------------------------------------

    def get(self, id: str) -> Job | None:
        """The record, or None where there is none (never was, or its tombstone is gone)."""
        with store_errors():
            fields = self._client.hgetall(keys.job(id))
        return _seen(id, fields)

    def forget(self, *ids: str) -> None:
        """Erase records of shards' jobs, which leave no tombstone."""
        with store_errors():
            self._client.delete(*map(keys.job, ids))

    def get_all(self, ids: Sequence[str]) -> list[Job | None]:
        """Many records, as `get` gives them, in one round trip."""
        with store_errors():
            records = self._client.execute_all([("HGETALL", keys.job(id)) for id in ids])
        return [_seen(id, fields) for id, fields in zip(ids, records, strict=True)]

    def page(self, tenant: str, *, after: str = "", limit: int) -> Page:
        """A tenant's jobs, newest first, that come after the id `after`."""
        top = f"({after}" if after else "+"
        with store_errors():
            ids = [
                id.decode()
                for id in self._client.zrevrangebylex(keys.tenant_jobs(tenant), top, "-", start=0, num=limit)
            ]
            pipe = self._client.pipeline(transaction=False)
            for id in ids:
                pipe.hgetall(keys.job(id))
            records = pipe.execute() if ids else []
        jobs = [Job.from_hash(id, fields) for id, fields in zip(ids, records, strict=True) if fields.get(b"tenant")]
        return Page(jobs, ids[-1] if len(ids) == limit else "")

    def position(self, job: Job) -> int | None:
        """How many jobs of the same lane are before this one, plus one; None when it does not wait."""
        with store_errors():
            rank: int | None = self._client.zrank(keys.waiting(job.queue), job.id)
        return None if rank is None else rank + 1

    def depths(self, queues: Sequence[str]) -> list[int]:
        """How many jobs wait in each of the queues."""
        with store_errors():
            pipe = self._client.pipeline(transaction=False)
            for queue in queues:
                pipe.zcard(keys.waiting(queue))
            return list(pipe.execute())

    def in_flight(self, tenant: str) -> int:
        """How many of a tenant's jobs are queued or running."""
        with store_errors():
            return int(self._client.hget(keys.IN_FLIGHT, tenant) or 0)

    def counters(self) -> dict[str, int]:
        """Jobs by terminal state, and `stale_commits`, since the store began."""
        with store_errors():
            return {name.decode(): int(count) for name, count in self._client.hgetall(keys.COUNTERS).items()}

    # -- working ------------------------------------------------------------------------------------------------

    def claim_all(self, wants: Sequence[Want], *, device: str, losses_allowed: int, lost_error: bytes) -> list[Claim]:
        """Take the jobs of one batch; each answer says whether to run it, and under which token."""
        common = (self.now_ms(), device, len(wants), losses_allowed, lost_error)
        rows = [(want.id, want.redelivered, want.holder) for want in wants]
        return self._for_each("claim", wants, common, rows, _claims)

    def finish_all(self, outcomes: Sequence[Outcome]) -> list[str]:
        """Commit; each answer is the status that stands now, or "stale" where another attempt holds the job."""
        rows = [(one.id, one.token, one.status, one.outputs_key, one.compute_ms, one.failures) for one in outcomes]
        texts = [one.error if one.status is Status.FAILED else one.outputs for one in outcomes]
        return self._for_each("finish", outcomes, (self.now_ms(),), rows, _words, texts)

    def requeue_all(self, returns: Sequence[Return]) -> list[str]:
        """Give executions back; each answer is "queued", "canceled" or "stale"."""
        now = self.now_ms()
        calls = [
            Call(
                "requeue",
                self._keys(one.id, one.queue),
                (one.id, now, one.token, one.not_before_ms, one.failures, one.interruptions),
            )
            for one in returns
        ]
        with store_errors():
            return [answer.decode() for answer in self._scripts.run_all(calls)]

    def note_steps(self, outcomes: Sequence[Outcome]) -> None:
        """Note what the steps of pipelines' jobs took, where these attempts still hold them."""
        calls = [Call("steps", (keys.job(one.id),), (one.token, one.steps)) for one in outcomes]
        with store_errors():
            self._scripts.run_all(calls)

    def standing(self, held: Sequence[tuple[str, int]]) -> list[Standing]:
        """Whether jobs that run, by id and token, are to go on; one round trip."""
        with store_errors():
            found = self._client.execute_all(
                [("HMGET", keys.job(id), "status", "attempt", "cancel_requested") for id, _ in held]
            )
        return [
            Standing.LOST
            if status != b"running" or int(attempt or 0) != token
            else Standing.CANCELED
            if canceled == b"1"
            else Standing.OURS
            for (status, attempt, canceled), (_, token) in zip(found, held, strict=True)
        ]

    # -- asked for by a client, or by time ----------------------------------------------------------------------

    def cancel(self, job: Job) -> Status | None:
        """Cancel; the status after the call (`running`: flagged, it will end as canceled)."""
        return self._status(Call("cancel", self._keys(job.id, job.queue), (job.id, self.now_ms())))

    def expire(self, job: Job) -> Status | None:
        """End a queued job whose time to start has passed."""
        return self._status(Call("expire", self._keys(job.id, job.queue), (job.id, self.now_ms())))

    def fail(self, job: Job, error: bytes, *, running: bool = False) -> Status | None:
        """End a queued job (`running`: one that runs as well) that nothing can run any more; the status after that."""
        call = Call("fail", self._keys(job.id, job.queue), (job.id, self.now_ms(), error, int(running)))
        return self._status(call)

    def retry(self, job: Job, *, start_by_ms: int, replay: str = "", in_flight: int = 0) -> str:
        """Queue a job that ended badly again; the answer is its status before ("missing", "erased" otherwise).

        `replay`: the key of the replay that counts it. `in_flight`: how many jobs its tenant may have queued and
        running (0: no limit); beyond that the answer is "quota", and nothing has changed.
        """
        keys_ = (
            keys.job(job.id), keys.waiting(job.queue), keys.DUE, keys.failed_jobs(job.tenant), keys.IN_FLIGHT, replay,
        )  # fmt: skip
        with store_errors():
            answer: bytes = self._scripts.run(Call("retry", keys_, (job.id, self.now_ms(), start_by_ms, in_flight)))
        return answer.decode()

    def release(self, id: str) -> tuple[str, bytes] | None:
        """Let a retry that is due be claimed again; its queue and message, or None when it no longer waits."""
        return self.release_all([id])[0]

    def release_all(self, ids: Sequence[str]) -> list[tuple[str, bytes] | None]:
        """As `release`, for many: they are about to be published."""
        now = self.now_ms()
        with store_errors():
            answers = self._scripts.run_all([Call("release", (keys.job(id),), (id, now)) for id in ids])
        return [(answer[0].decode(), answer[1]) if answer else None for answer in answers]

    def erase(self, job: Job, *, reason: str, remains: bytes = b"") -> str:
        """Erase inputs and outputs, leaving a tombstone; `reason` is "deleted" or "expired".

        `remains`: its message without inputs, kept where a webhook is yet to tell of the job's end.
        """
        call = Call(
            "erase",
            (*self._keys(job.id, job.queue), keys.tenant_jobs(job.tenant), keys.failed_jobs(job.tenant)),
            (job.id, self.now_ms(), reason, TOMBSTONE_S, remains),
        )
        with store_errors():
            answer = self._scripts.run(call)
        return str(answer[0].decode())

    # -- what is due --------------------------------------------------------------------------------------------

    def due(self, *, limit: int) -> list[Due]:
        """What is due by now, earliest first; it stays until `settle`."""
        with store_errors():
            members = self._client.zrangebyscore(keys.DUE, 0, self.now_ms(), start=0, num=limit, withscores=True)
        return [Due(member.decode(), int(at_ms)) for member, at_ms in members]

    def settle(self, due: Due) -> None:
        """Take a member out of the due set: what it stood for is done. One scheduled anew meanwhile stays."""
        with store_errors():
            self._scripts.run(Call("settle", (keys.DUE,), (due.member, due.at_ms)))

    def put_off(self, due: Due, *, by_ms: int) -> None:
        """What could not be done now is due later, and others are not kept waiting by it."""
        with store_errors():
            self._client.zadd(keys.DUE, {due.member: self.now_ms() + by_ms}, xx=True)

    def queues(self) -> list[str]:
        """The lanes' queues that ever had a job."""
        with store_errors():
            return [name.decode() for name in self._client.smembers(keys.QUEUES)]

    def overdue(self, queue: str, *, since_ms: int, limit: int) -> list[str]:
        """Ids that were put into a lane's queue before `since_ms` and still wait, oldest first."""
        with store_errors():
            ids = self._client.zrangebyscore(keys.waiting(queue), 0, since_ms, start=0, num=limit)
        return [id.decode() for id in ids]

    def count_overdue(self, queue: str, *, since_ms: int) -> int:
        """How many were put into a lane's queue before `since_ms` and still wait."""
        with store_errors():
            return int(self._client.zcount(keys.waiting(queue), 0, since_ms))

    def passed(self, queue: str) -> int:
        """When the job that was claimed last in a lane's queue had been put there, milliseconds; 0 before the first."""
        with store_errors():
            return int(self._client.get(keys.passed(queue)) or 0)

    def forget_waiting(self, queue: str, ids: Sequence[str]) -> None:
        """Ids without a record wait for nothing."""
        with store_errors():
            self._client.zrem(keys.waiting(queue), *ids)

    def running(self, cursor: int, *, count: int) -> tuple[int, list[Held]]:
        """The running jobs among about `count` records, and where to go on; 0: that was the last of them."""
        with store_errors():
            cursor, found = self._client.scan(cursor, match=keys.job("*"), count=count)
            ids = [key.decode().removeprefix(keys.job("")) for key in found]
            # What stands behind a colon is a copy.
            ids = [id for id in ids if ":" not in id]
            rows = self._client.execute_all(
                [("HMGET", keys.job(id), "status", "holder", "started_ms") for id in ids] or [("PING",)]
            )
        pairs = zip(ids, rows, strict=False)
        return int(cursor), [
            Held(id, row[1].decode(), int(row[2] or 0)) for id, row in pairs if row[0] == b"running" and row[1]
        ]

    def revive(self, held: Held) -> tuple[str, bytes] | None:
        """Queue a job again whose worker died; its queue and message.

        None when another holds it by now, or where it was canceled, and so has ended.
        """
        keys_ = (keys.job(held.id), keys.DUE, keys.DONE, keys.COUNTERS)
        call = Call("revive", keys_, (held.id, self.now_ms(), held.holder))
        with store_errors():
            answer = self._scripts.run(call)
        return (answer[0].decode(), answer[1]) if answer else None

    def judge(self, due: Due) -> str:
        """What a takeover was that the due set asks about: "interrupted", "lost", or "settled" long ago."""
        id, _attempt, alone, worker = due.member.partition(":")[2].split("/", 3)
        call = Call("judge", (keys.job(id), keys.DUE, keys.COUNTERS), (due.member, alone, worker))
        with store_errors():
            answer: bytes = self._scripts.run(call)
        return answer.decode()

    def schedule(self, member: str, *, at_ms: int) -> None:
        """Put a member into the due set."""
        with store_errors():
            self._client.zadd(keys.DUE, {member: at_ms})

    def schedule_sweep(self, prefix: str) -> None:
        """Have the objects below a job's prefix looked at later: a job that never came to be has none."""
        self.schedule("inputs:" + prefix, at_ms=self.now_ms() + SWEEP_MS)

    def _for_each(
        self,
        script: str,
        asked: Sequence[Asked],
        common: tuple[Any, ...],
        rows: Sequence[tuple[Any, ...]],
        answers: msgspec.msgpack.Decoder[list[A]],
        texts: Sequence[bytes] = (),
    ) -> list[A]:
        """Run a script that answers for many jobs of one lane: one call a lane, or a few where the jobs are many."""
        chunks = chunked(one.queue for one in asked)
        calls = [
            Call(
                script,
                (
                    keys.waiting(queue), keys.DUE, keys.DONE, keys.COUNTERS,
                    *[keys.job(asked[index].id) for index in indexes],
                ),
                (
                    *common, _encoder.encode([rows[index] for index in indexes]),
                    *[texts[index] for index in indexes if texts],
                ),
            )
            for queue, indexes in chunks
        ]  # fmt: skip
        found: dict[int, A] = {}
        with store_errors():
            for (_, indexes), answer in zip(chunks, self._scripts.run_all(calls), strict=True):
                found.update(zip(indexes, answers.decode(answer), strict=True))
        return [found[index] for index in range(len(asked))]

    def _keys(self, id: str, queue: str) -> tuple[str, ...]:
        return (keys.job(id), keys.waiting(queue), keys.DUE, keys.DONE, keys.COUNTERS)

    def _status(self, call: Call) -> Status | None:
        with store_errors():
            answer: bytes = self._scripts.run(call)
        return None if answer == b"missing" else Status(answer.decode())


def _seen(id: str, fields: dict[bytes, bytes]) -> Job | None:
    """The record, where there is one that a client may see."""
    return Job.from_hash(id, fields) if fields.get(b"tenant") and fields[b"status"] != b"withdrawn" else None
