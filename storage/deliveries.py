"""Deliveries: each is one event of one job on its way to one target, until it got there or was given up.

An event that somebody subscribed to stands in the outbox from the very moment of the job's move. `expand` makes its
deliveries and takes it out, in one script. A delivery waits in its target's queue for its time; whoever sends it
leases it there, so that one that dies with it loses nothing: the lease runs out, and it is sent again, under its id.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from storage import keys
from storage.clock import wall_ms
from storage.connection import Client, store_errors
from storage.job import Job
from storage.scripts import Call, Scripts
from storage.webhooks import SCORING_EVENTS

#: How long a sender may take before another one takes over, milliseconds: more than a sending's whole time.
LEASE_MS = 40_000
#: Sent at once to a target that fails, that is not known yet, that is well; and for one tenant in all, which is an
#: eighth of what one orchestrator sends at once.
FAILING_AT_ONCE, NEW_AT_ONCE, AT_ONCE, TENANT_AT_ONCE = 1, 2, 8, 8
#: How long a pending delivery may stay untouched, milliseconds: twice its schedule.
PENDING_MS = 8 * 86_400_000
#: How long a settled one stays at least; else as long as its job.
SETTLED_MS = 86_400_000
#: Deliveries kept of one job, and sendings of one delivery.
KEPT, ATTEMPTS_KEPT = 200, 20
#: Deliveries of an endpoint that are shown.
SHOWN = 100
#: How long a dispatched target is left to its senders before it is looked at again, milliseconds.
AGAIN_MS = 5_000

PENDING, DELIVERED, EXHAUSTED, DISABLED = "pending", "delivered", "exhausted", "disabled"
#: Of one that is kept no more.
MISSING = "missing"


class Entry(NamedTuple):
    """An event in the outbox."""

    event: str
    number: int
    job: str
    at_ms: int

    @property
    def member(self) -> str:
        return f"{self.event}:{self.number}:{self.job}"

    @property
    def subject(self) -> "Subject":
        return subject(self.event, self.job)

    @property
    def ended(self) -> str:
        """Key of the record as it was at that end, where it was run again meanwhile."""
        made = keys.scoring_end if self.event in SCORING_EVENTS else keys.ended
        return made(self.job, self.number)


class Subject(NamedTuple):
    """Keys of what an event is about: its record, and the list of its deliveries."""

    record: str
    deliveries: str


def subject(event: str, id: str) -> Subject:
    if event in SCORING_EVENTS:
        return Subject(keys.scoring(id), keys.deliveries(of_scoring(id)))
    return Subject(keys.job(id), keys.deliveries(id))


def of_scoring(id: str) -> str:
    """What a scoring's deliveries are listed under: a job that was pushed may have any id, but none with a colon."""
    return "scoring:" + id


class Planned(NamedTuple):
    """A delivery to be made."""

    id: str
    #: `<tenant>/<endpoint id>`, or `<tenant>/@<host>:<port>` of a job's own URL.
    target: str
    event: str
    #: Empty for a job's own URL.
    endpoint: str
    url: str


class Attempt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One sending."""

    at_ms: int
    #: HTTP status; 0: there was no answer.
    status: int = 0
    latency_ms: float = 0.0
    #: The first bytes of the answer's body.
    answer: str = ""
    #: Why it counts as failed.
    error: str = ""
    #: False while it is on its way, and where its sender died.
    ended: bool = False


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    #: The job, or the scoring, that it tells of.
    job: str
    event: str
    target: str
    endpoint: str
    url: str
    state: str
    created_ms: int
    #: When it is sent next; 0: never.
    next_ms: int = 0
    settled_ms: int = 0
    body: bytes = b""
    #: Sendings so far, and how many of them were before the newest redelivery by hand.
    sendings: int = 0
    before: int = 0
    attempts: tuple[Attempt, ...] = ()

    @property
    def tenant(self) -> str:
        return self.target.partition("/")[0]

    @property
    def subject(self) -> Subject:
        return subject(self.event, self.job)


class Taken(NamedTuple):
    delivery: Delivery
    #: The number of this sending.
    number: int


class Came(NamedTuple):
    """What a sending has led to."""

    #: The delivery's, or "missing".
    state: str
    #: Since when nothing but failures came back from the target; 0: it is well.
    failing_ms: int


_encode = msgspec.json.Encoder().encode
_pack = msgspec.msgpack.Encoder().encode
_attempt = msgspec.json.Decoder(Attempt)
#: Of the hash, what is read as a number.
NUMBERS = frozenset({"created_ms", "next_ms", "settled_ms", "sendings", "before"})
FIELDS = frozenset(Delivery.__struct_fields__)


class Deliveries:
    """What is to be told, to whom, and what came of it. Methods raise StoreUnavailable when Redis does not answer."""

    def __init__(self, client: Client, *, now_ms: Callable[[], int] = wall_ms) -> None:
        self._client = client
        self._scripts = Scripts(client)
        self.now_ms = now_ms

    # -- the outbox ---------------------------------------------------------------------------------------------

    def outbox(self, *, limit: int) -> list[Entry]:
        """Events that have no deliveries yet, oldest first."""
        with store_errors():
            found = self._client.zrange(keys.OUTBOX, 0, limit - 1, withscores=True)
        entries = []
        for member, at_ms in found:
            event, number, job = member.decode().split(":", 2)
            entries.append(Entry(event, int(number), job, int(at_ms)))
        return entries

    def ended(self, entry: Entry) -> Job | None:
        """The job's record as it was at its end, where the job was retried meanwhile."""
        with store_errors():
            fields = self._client.hgetall(keys.ended(entry.job, entry.number))
        return Job.from_hash(entry.job, fields) if fields else None

    def expand(self, entry: Entry, planned: Sequence[Planned], body: bytes) -> bool:
        """Make an event's deliveries and take it out of the outbox; False when it was done before."""
        rows = [(one.id, one.target, "event", one.event, "endpoint", one.endpoint, "url", one.url) for one in planned]
        call = Call(
            "expand",
            (
                keys.OUTBOX, keys.TARGETS, *entry.subject, entry.ended, keys.HOOK_COUNTERS,
                *(key for one in planned for key in (keys.delivery(one.id), keys.target(one.target))),
            ),
            (entry.member, entry.job, self.now_ms(), PENDING_MS, KEPT, keys.delivery(""), body, _pack(rows)),
        )  # fmt: skip
        with store_errors():
            return bool(self._scripts.run(call))

    # -- sending ------------------------------------------------------------------------------------------------

    def due(self, *, limit: int) -> list[str]:
        """Targets that something is to be sent to by now."""
        with store_errors():
            found = self._client.zrangebyscore(keys.TARGETS, 0, self.now_ms(), start=0, num=limit)
        return [target.decode() for target in found]

    def dispatch(self, target: str) -> int:
        """How many senders the target needs now."""
        call = Call(
            "dispatch",
            (keys.TARGETS, keys.target(target), keys.sending(target)),
            (target, self.now_ms(), AT_ONCE, AGAIN_MS),
        )
        with store_errors():
            return int(self._scripts.run(call))

    def wake(self, target: str) -> None:
        """Let the target be looked at now."""
        with store_errors():
            self._client.zadd(keys.TARGETS, {target: self.now_ms()}, lt=True)

    def take(self, target: str) -> Taken | None:
        """Lease what is due first; None when nothing is, or enough is being sent there already."""
        now = self.now_ms()
        call = Call(
            "take",
            (keys.target(target), keys.sending(target), keys.sending(tenant_of(target)), keys.condition(target)),
            (
                now, LEASE_MS, keys.delivery(""), FAILING_AT_ONCE, NEW_AT_ONCE, AT_ONCE, TENANT_AT_ONCE,
                _encode(Attempt(at_ms=now)),
            ),
        )  # fmt: skip
        with store_errors():
            answer = self._scripts.run(call)
        if not answer:
            return None
        id, number, flat = answer
        return Taken(read(id.decode(), dict(zip(flat[::2], flat[1::2], strict=True))), number)

    def attempted(self, taken: Taken, attempt: Attempt, outcome: str, *, next_ms: int = 0) -> Came:
        """Note what came of a sending.

        `outcome`: "delivered", "failed", "gone" (there will never be a receiver) or "dropped" (nothing was sent);
        `next_ms`: when to send again, 0 for never.
        """
        delivery = taken.delivery
        target = delivery.target
        call = Call(
            "attempted",
            (
                keys.delivery(delivery.id), keys.target(target), keys.sending(target), keys.sending(delivery.tenant),
                keys.condition(target), keys.TARGETS, delivery.subject.record, keys.HOOK_COUNTERS,
            ),
            (
                delivery.id, target, self.now_ms(), taken.number, _encode(attempt), outcome, next_ms,
                f"{attempt.latency_ms:.3f}", SETTLED_MS, PENDING_MS, ATTEMPTS_KEPT,
            ),
        )  # fmt: skip
        with store_errors():
            state, failing_ms = self._scripts.run(call)
        return Came(state.decode(), int(failing_ms))

    # -- looking ------------------------------------------------------------------------------------------------

    def of(self, job: str) -> list[Delivery]:
        """A job's deliveries, oldest first; a scoring's, where it is `scoring:<id>`."""
        with store_errors():
            return self._read(self._client.lrange(keys.deliveries(job), 0, -1))

    def to(self, target: str) -> list[Delivery]:
        """What is on its way to an endpoint, SHOWN at most, and the pings sent there; oldest first."""
        with store_errors():
            pings = self._client.lrange(keys.deliveries(target), -SHOWN, -1)
            waiting = self._client.zrange(keys.target(target), 0, SHOWN - 1)
            found = self._read(list(dict.fromkeys([*pings, *waiting])))
        return sorted(found, key=lambda one: (one.created_ms, one.id))

    def ping(self, tenant: str, endpoint: str) -> None:
        """Put a trial into the outbox."""
        now = self.now_ms()
        with store_errors():
            self._client.zadd(keys.OUTBOX, {Entry("ping", now, f"{tenant}/{endpoint}", now).member: now})

    def _read(self, ids: Sequence[bytes]) -> list[Delivery]:
        found = self._client.execute_all([("HGETALL", keys.delivery(id.decode())) for id in ids]) if ids else []
        return [read(id.decode(), fields) for id, fields in zip(ids, found, strict=True) if b"job" in fields]

    def redeliver(self, delivery: Delivery) -> str:
        """Send it once more, at once, under its id; its state before, or "missing"."""
        call = Call(
            "redeliver",
            (
                keys.delivery(delivery.id), keys.target(delivery.target), keys.TARGETS, delivery.subject.record,
                keys.HOOK_COUNTERS,
            ),
            (delivery.id, delivery.target, self.now_ms(), PENDING_MS),
        )  # fmt: skip
        with store_errors():
            answer: bytes = self._scripts.run(call)
        return answer.decode()

    def forget(self, job: str, blank: Callable[[bytes], bytes] | None = None) -> None:
        """The job's contents are gone: so are its settled deliveries. Those that are pending go when they settle.

        `blank` makes of a body what may still be sent of it.
        """
        found = self.of(job)
        pending = [one for one in found if one.state == PENDING]
        gone = [keys.delivery(one.id) for one in found if one.state != PENDING]
        with store_errors():
            if not pending:
                gone.append(keys.deliveries(job))
            if gone:
                self._client.delete(*gone)
        if blank is not None and pending:
            calls = [Call("blank", (keys.delivery(one.id),), (blank(one.body),)) for one in pending]
            with store_errors():
                self._scripts.run_all(calls)

    def counters(self) -> dict[str, float]:
        """What came of all deliveries since the store began; `pending`: how many are on their way now."""
        with store_errors():
            return {name.decode(): float(count) for name, count in self._client.hgetall(keys.HOOK_COUNTERS).items()}

    def untold(self) -> int:
        """Events in the outbox."""
        with store_errors():
            return int(self._client.zcard(keys.OUTBOX))


def tenant_of(target: str) -> str:
    return target.partition("/")[0]


def read(id: str, fields: dict[bytes, bytes]) -> Delivery:
    """A delivery as its hash holds it."""
    values: dict[str, Any] = {"id": id}
    attempts: list[tuple[int, Attempt]] = []
    for name, value in ((name.decode(), value) for name, value in fields.items()):
        if name.startswith("attempt:"):
            attempts.append((int(name[8:]), _attempt.decode(value)))
        elif name in NUMBERS:
            values[name] = int(value)
        elif name in FIELDS:
            values[name] = value if name == "body" else value.decode()
    return Delivery(**values, attempts=tuple(attempt for _, attempt in sorted(attempts)))
