"""Driving a scoring: its lease and epoch, and what its driver notes. Another's notes, after a takeover, are refused."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from storage import keys
from storage.connection import store_errors
from storage.scoring import Scoring, ScoringStatus
from storage.scorings import Scorings, from_hash
from storage.scripts import Call

#: How long a driver that gave no sign of life counts as alive, milliseconds.
LEASE_MS = 6_000
#: Statuses from which each may come.
FROM: Mapping[ScoringStatus, tuple[ScoringStatus, ...]] = {
    ScoringStatus.VALIDATING: (ScoringStatus.QUEUED,),
    ScoringStatus.RUNNING: (ScoringStatus.VALIDATING,),
    ScoringStatus.MERGING: (ScoringStatus.RUNNING,),
    ScoringStatus.COMPLETED: (ScoringStatus.VALIDATING, ScoringStatus.MERGING),
    ScoringStatus.FAILED: (
        ScoringStatus.QUEUED, ScoringStatus.VALIDATING, ScoringStatus.RUNNING, ScoringStatus.MERGING,
    ),
    ScoringStatus.CANCELED: (ScoringStatus.CANCELING, ScoringStatus.MERGING),
}  # fmt: skip

_encode = msgspec.msgpack.Encoder().encode

#: One command that goes with a note: its name, the number of the key in `Hold.note`'s script, its arguments.
Command = tuple[str | int | bytes, ...]
#: Numbers of these keys.
SHARDS, FOLDED, ENDED = 2, 3, 4


def _pack(parts: Iterable[str | int | bytes]) -> list[str | int]:
    # Redis' MessagePack knows no bytes, and all of ours are JSON.
    return [part.decode() if isinstance(part, bytes) else part for part in parts]


class LeaseLost(Exception):
    """Another drives it by now."""


class State(NamedTuple):
    """A scoring as its driver finds it."""

    scoring: Scoring
    #: The driver's own fields of the record.
    fields: Mapping[str, bytes]
    #: Shards that are out, or done before an earlier one, by number.
    shards: Mapping[int, bytes]
    #: Shards that are done, in row order, and in no index yet.
    folded: Sequence[bytes]


class Hold:
    """One driver's lease of one scoring. Methods raise StoreUnavailable, and LeaseLost."""

    def __init__(self, scorings: Scorings, id: str, epoch: int) -> None:
        self._scorings = scorings
        self.id = id
        self.epoch = epoch
        self._keys = (
            keys.scoring(id), keys.scoring_shards(id), keys.scoring_folded(id), keys.scoring_ended(id),
            keys.SCORINGS_DRIVEN, keys.DUE,
        )  # fmt: skip

    def load(self) -> State:
        """Everything; raises LeaseLost also where it is gone."""
        with store_errors():
            fields, shards, folded = self._scorings.client.execute_all(
                [("HGETALL", self._keys[0]), ("HGETALL", self._keys[1]), ("LRANGE", self._keys[2], 0, -1)]
            )
        scoring = from_hash(fields)
        if scoring is None or int(fields.get(b"epoch", 0)) != self.epoch:
            raise LeaseLost
        own = {name.decode(): value for name, value in fields.items()}
        return State(scoring, own, {int(number): entry for number, entry in shards.items()}, folded)

    def note(
        self,
        *,
        to: ScoringStatus | None = None,
        fields: Mapping[str, str | int | bytes] | None = None,
        commands: Sequence[Command] = (),
        event: str = "",
    ) -> ScoringStatus:
        """Note all of it or, where `to` is no move from the status that stands, nothing; the status after that.

        Whatever is noted renews the lease.
        """
        now = self._scorings.now_ms()
        flat = [part for pair in (fields or {}).items() for part in pair]
        args = (
            self.id, self.epoch, now, now + LEASE_MS, to or "", " ".join(FROM[to]) if to else "", event,
            _encode(_pack(flat)), _encode([_pack(command) for command in commands]),
        )  # fmt: skip
        with store_errors():
            answer: bytes = self._scorings.scripts.run(Call("scoring_advance", self._keys, args))
        if answer == b"stale":
            raise LeaseLost
        return ScoringStatus(answer.decode())

    def news(self) -> tuple[ScoringStatus, set[str]]:
        """The status, and the ids of shard jobs that ended and that no note has taken out yet."""
        with store_errors():
            held, ended = self._scorings.client.execute_all(
                [("HMGET", self._keys[0], "status", "epoch"), ("SMEMBERS", self._keys[3])]
            )
        if int(held[1] or 0) != self.epoch:
            raise LeaseLost
        return ScoringStatus(held[0].decode()), {id.decode() for id in ended}

    def release(self) -> None:
        """Let another take it up at once."""
        now = self._scorings.now_ms()
        with store_errors():
            self._scorings.scripts.run(
                Call(
                    "scoring_advance", self._keys, (self.id, self.epoch, now, now, "", "", "", _encode([]), _encode([]))
                )
            )


def take(scorings: Scorings, *, most: int = 0) -> Hold | None:
    """Lease the next scoring that wants to be driven; None where there is none.

    `most`: scorings of one tenant that may be driven at once; 0: any number.
    """
    now = scorings.now_ms()
    keys_ = (keys.SCORINGS_WAITING, keys.SCORINGS_DRIVEN, keys.SCORINGS_TURNS, keys.scoring(""))
    with store_errors():
        taken = scorings.scripts.run(Call("scoring_take", keys_, (now, now + LEASE_MS, most)))
    return Hold(scorings, taken[0].decode(), int(taken[1])) if taken else None


def wanting(scorings: Scorings) -> int:
    """How many scorings nobody drives."""
    with store_errors():
        waiting, lapsed = scorings.client.execute_all(
            [("ZCARD", keys.SCORINGS_WAITING), ("ZCOUNT", keys.SCORINGS_DRIVEN, "-inf", scorings.now_ms())]
        )
    return int(waiting) + int(lapsed)
