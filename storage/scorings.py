"""Offline runs in Redis: made, listed, canceled, run again and erased by clients; moved on by whoever drives them.

Every change is one script beside this file. A driver holds a lease; each takeover raises the scoring's epoch, and what
the driver of an older one still wants to note is refused (storage/driven.py).
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import msgspec

from errors import AlreadyTerminal, NotFound, NotReady, QuotaExceeded
from storage import keys
from storage.clock import wall_ms
from storage.connection import Client, store_errors
from storage.jobs import IDEMPOTENCY_TTL_S
from storage.scoring import Estimate, Scoring, ScoringStatus, Spec
from storage.scripts import Call, Scripts

#: Records read at once where a listing filters.
SLICE = 100
#: Seconds that a client is told to wait whose scorings are too many.
BUSY_RETRY_S = 10.0

_encode = msgspec.json.Encoder().encode
_spec = msgspec.json.Decoder(Spec).decode
_estimate = msgspec.json.Decoder(Estimate).decode
_NUMBERS = (
    "round", "total", "done", "failed", "validating_ms", "running_ms", "merging_ms", "canceling_ms", "ended_ms",
    "expires_ms", "output_bytes", "errors_bytes",
)  # fmt: skip
_TEXTS = ("output_key", "errors_key", "erased")


class Made(NamedTuple):
    #: "created", "exists" (this id is known), "same" (this Idempotency-Key made the scoring `id`), "mismatch" or
    #: "quota".
    verdict: str
    #: After "quota": how many of the tenant's scorings have not ended.
    id: str


class Listed(NamedTuple):
    scorings: list[Scoring]
    #: Where the next page begins, or "" at the end.
    cursor: str


class Scorings:
    """Records of offline runs. Every method raises StoreUnavailable when Redis does not answer."""

    def __init__(self, client: Client, *, now_ms: Callable[[], int] = wall_ms) -> None:
        self.client = client
        self.scripts = Scripts(client)
        self.now_ms = now_ms

    def create(self, spec: Spec, *, idempotency_key: str = "", body: str = "", most: int = 0) -> Made:
        """Make the record, unless its tenant's Idempotency-Key is known; `body` is the request's digest.

        `most`: scorings that the tenant may have unfinished; 0: any number.
        """
        # Jobs have the same keys for themselves.
        idem = keys.idempotency(spec.tenant, "scoring:" + idempotency_key) if idempotency_key else ""
        keys_ = (
            keys.scoring(spec.id), keys.tenant_scorings(spec.tenant), keys.SCORINGS_WAITING, idem, keys.scoring(""),
            keys.SCORINGS_DRIVEN,
        )  # fmt: skip
        fields: list[str | bytes | int] = [
            "tenant", spec.tenant, "status", ScoringStatus.QUEUED, "spec", _encode(spec), "round", 1,
            "result_ttl_s", spec.result_ttl_s,
        ]  # fmt: skip
        if spec.webhook_url:
            fields += ["webhook", " ".join(spec.webhook_events)]
        args = (spec.id, spec.tenant, body, IDEMPOTENCY_TTL_S, most, *fields)
        with store_errors():
            verdict, id = self.scripts.run(Call("scoring_create", keys_, args))
        return Made(verdict.decode(), id.decode())

    def get(self, id: str) -> Scoring | None:
        """The record (`erased` says where only a tombstone is left); None where there is none."""
        with store_errors():
            fields = self.client.hgetall(keys.scoring(id))
        return from_hash(fields)

    def ended(self, id: str, number: int) -> Scoring | None:
        """The record as it was at the end that is event `number`, where it was run again meanwhile."""
        with store_errors():
            fields = self.client.hgetall(keys.scoring_end(id, number))
        return from_hash(fields)

    def unfinished(self) -> tuple[int, int]:
        """How many scorings nobody drives yet, and how many are driven."""
        with store_errors():
            waiting, driven = self.client.execute_all(
                [("ZCARD", keys.SCORINGS_WAITING), ("ZCARD", keys.SCORINGS_DRIVEN)]
            )
        return int(waiting), int(driven)

    def list(
        self, tenant: str, *, limit: int, before: str = "", status: ScoringStatus | None = None, model: str = ""
    ) -> Listed:
        """A tenant's scorings, newest first, that are older than the id `before`."""
        found: list[Scoring] = []
        while True:
            ids = self._ids(tenant, before)
            for id, one in zip(ids, self._get_all(ids), strict=True):
                before = id
                if one and (not status or one.status is status) and (not model or one.spec.model == model):
                    found.append(one)
                    if len(found) == limit:
                        return Listed(found, before)
            if len(ids) < SLICE:
                return Listed(found, "")

    def _ids(self, tenant: str, before: str) -> Sequence[str]:
        top = f"({before}" if before else "+"
        with store_errors():
            ids = self.client.zrevrangebylex(keys.tenant_scorings(tenant), top, "-", start=0, num=SLICE)
        return [id.decode() for id in ids]

    def _get_all(self, ids: Sequence[str]) -> Sequence[Scoring | None]:
        with store_errors():
            records = self.client.execute_all([("HGETALL", keys.scoring(id)) for id in ids]) if ids else []
        return [from_hash(fields) for fields in records]

    def cancel(self, id: str) -> ScoringStatus:
        """Begin nothing new; the status after the call. One that is merging, or has ended, stays as it is.

        Raises NotFound.
        """
        keys_ = (
            keys.scoring(id), keys.SCORINGS_WAITING, keys.SCORINGS_DRIVEN, keys.DUE, keys.scoring_ended(id),
        )  # fmt: skip
        return ScoringStatus(self._run("scoring_cancel", id, keys_, (id, self.now_ms())))

    def retry_failed(self, id: str, *, most: int = 0) -> ScoringStatus:
        """Have the rows that failed run once more. `most`: as in `create`.

        Raises NotFound; NotReady where it has not ended; AlreadyTerminal where no row of it failed; QuotaExceeded.
        """
        keys_ = (keys.scoring(id), keys.SCORINGS_WAITING, keys.DUE, keys.SCORINGS_DRIVEN)
        answer = self._run("scoring_retry", id, keys_, (id, most))
        if answer.startswith("quota "):
            raise too_many(answer.removeprefix("quota "), most)
        if answer == "none":
            raise AlreadyTerminal(f"no row of scoring {id} failed: there is nothing to run again")
        if answer != ScoringStatus.QUEUED:
            raise NotReady(
                f"scoring {id} is {answer.removeprefix('live ')}: failed rows can be run again once it has ended"
            )
        return ScoringStatus.QUEUED

    def erase(self, one: Scoring, *, reason: Literal["deleted", "expired"] = "deleted") -> str:
        """Leave a tombstone; the objects follow. "erased", or "kept" where it has not expired. Raises NotFound."""
        id = one.id
        keys_ = (
            keys.scoring(id), keys.SCORINGS_WAITING, keys.SCORINGS_DRIVEN, keys.DUE, keys.scoring_ended(id),
            keys.tenant_scorings(one.tenant),
        )  # fmt: skip
        return self._run("scoring_erase", id, keys_, (id, self.now_ms(), reason, _encode(remains(one.spec))))

    def _run(self, script: str, id: str, keys_: tuple[str, ...], args: tuple[str | int | bytes, ...]) -> str:
        with store_errors():
            answer: bytes = self.scripts.run(Call(script, keys_, args))
        if answer == b"missing":
            raise NotFound(f"no scoring {id}")
        return answer.decode()


def too_many(unfinished: str, most: int) -> QuotaExceeded:
    return QuotaExceeded(
        f"the tenant has {unfinished} scorings that have not ended; its limit is {most}: wait until one ends, or "
        "cancel it",
        retry_after_s=BUSY_RETRY_S,
    )


def remains(spec: Spec) -> Spec:
    """What of a request outlives the scoring's erasure."""
    return msgspec.structs.replace(
        spec, input=(), mapping={}, keep=(), parameters={}, metadata={}, webhook_url="", webhook_events=(),
        inputs=msgspec.Raw(b"[]"), outputs=msgspec.Raw(b"[]"),
    )  # fmt: skip


def from_hash(fields: dict[bytes, bytes]) -> Scoring | None:
    """The record as a Redis hash holds it."""
    if b"spec" not in fields:
        return None
    values: dict[str, object] = {name: int(fields[name.encode()]) for name in _NUMBERS if name.encode() in fields}
    values |= {name: fields[name.encode()].decode() for name in _TEXTS if name.encode() in fields}
    estimate = fields.get(b"estimate")
    return Scoring(
        spec=_spec(fields[b"spec"]),
        status=ScoringStatus(fields[b"status"].decode()),
        rate=float(fields.get(b"rate", 0)),
        error=fields.get(b"error", b""),
        estimate=_estimate(estimate) if estimate else None,
        **values,  # type: ignore[arg-type]
    )
