"""What a driver knows of its scoring, and how that is noted: in memory and in Redis the same, a note at a time."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from storage.driven import ENDED, FOLDED, SHARDS, Command, Hold, State
from storage.scoring import ScoringStatus
from tasks.scoring.index import SHARDS_EACH, Index
from tasks.scoring.shard import Places, Shard, decode

#: Seconds that a rate is taken over.
RATE_S = 10.0
#: Seconds between two events of progress: where so large a share of the rows was done since, and otherwise.
BRISK_S, SLOW_S, SHARE = 5.0, 30.0, 0.05


class Ledger:
    """Methods raise StoreUnavailable, LeaseLost, and ObjectsUnavailable where an index is written.

    After an error it is not to be trusted any more: what was noted is read anew.
    """

    def __init__(self, hold: Hold, state: State, index: Index, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._hold = hold
        self._index = index
        self._clock = clock
        fields = state.fields
        self.scoring = state.scoring
        self.status = state.scoring.status
        self.shards: dict[int, Shard] = {number: decode(text) for number, text in state.shards.items()}
        self._folded = [decode(text) for text in state.folded]
        self.done, self.failed = state.scoring.done, state.scoring.failed
        #: The next shard's number, the next row to be cut, and whether there is none.
        self.number, self.row = int(fields.get("number", 0)), int(fields.get("row", 0))
        self.exhausted = fields.get("exhausted") == b"1"
        self.shard_rows = int(fields.get("shard_rows", 0))
        #: Index objects of this round, and of those before it.
        self.indexed = int(fields.get("indexed", 0))
        self.rounds: list[int] = msgspec.json.decode(fields.get("rounds", b"[]"), type=list[int])
        #: Rows that had an outcome when this round began.
        self.done_before = int(fields.get("done_before", 0))
        self.verdict = fields.get("verdict", b"").decode()
        self.unfinished = fields.get("unfinished", b"").decode()
        self.unfinished_error = fields.get("unfinished_error", b"")
        self._samples: deque[tuple[float, int]] = deque([(clock(), self.done)])
        self._told, self._told_done = clock(), self.done

    @property
    def open(self) -> list[Shard]:
        """Shards that are not done."""
        return [shard for shard in self.shards.values() if not shard.done]

    @property
    def round(self) -> int:
        return self.scoring.round

    @property
    def places(self) -> Places:
        """Keys of this round's objects, as this driver writes them."""
        return Places(self.scoring.tenant, self.scoring.id, round=self.round, epoch=self._hold.epoch)

    # -- notes --------------------------------------------------------------------------------------------------

    def move(self, to: ScoringStatus, **fields: str | int | bytes) -> ScoringStatus:
        """Change the status, unless it was canceled meanwhile; the status that stands."""
        self.status = self._hold.note(to=to, fields=fields)
        return self.status

    def keep(self, **fields: str | int | bytes) -> None:
        self.status = self._hold.note(fields=fields)

    def news(self) -> tuple[ScoringStatus, set[str]]:
        """The status that stands, and the jobs that ended and were not looked at."""
        return self._hold.news()

    def decide(self, shard_rows: int) -> None:
        """So many rows has a shard that is cut from now on, in every round."""
        # Noted first: another thread cuts by it.
        self.keep(shard_rows=shard_rows)
        self.shard_rows = shard_rows

    def begin_round(self) -> ScoringStatus:
        """From queued to validating; a further round counts anew the rows that failed."""
        fields: dict[str, str | int | bytes] = {}
        if self.round > len(self.rounds) + 1:
            self.rounds.append(self.indexed)
            self.done_before, self.done = self.done, self.done - self.failed
            self.indexed = self.row = self.failed = 0
            self.exhausted = False
            fields = {
                "rounds": msgspec.json.encode(self.rounds), "indexed": 0, "row": 0, "exhausted": "", "failed": 0,
                "done_before": self.done_before, "done": self.done,
            }  # fmt: skip
        return self.move(ScoringStatus.VALIDATING, **fields)

    def add(self, shard: Shard, *, row: int) -> None:
        """A shard was cut; the next one begins at `row`."""
        self.shards[shard.number] = shard
        self.number, self.row = shard.number + 1, row
        self._note([_put(shard)], {"number": self.number, "row": row})

    def exhaust(self) -> None:
        """There are no more rows."""
        self.exhausted = True
        self._note([], {"exhausted": "1"} | ({"total": self.row} if self.round == 1 else {}))

    def replace(self, old: Iterable[Shard], new: Iterable[Shard], *, ended: Sequence[str] = ()) -> None:
        """Shards changed, or came in place of others; `ended`: jobs whose end has been looked at.

        Those that are done, and have none before them that is not, are folded.
        """
        commands: list[Command] = []
        for shard in old:
            del self.shards[shard.number]
            commands.append(("HDEL", SHARDS, shard.number))
        for shard in new:
            self.shards[shard.number] = shard
            self.number = max(self.number, shard.number + 1)
            commands.append(_put(shard))
            if shard.done:
                self.done += shard.asked
                self.failed += shard.failed
        if ended:
            commands.append(("SREM", ENDED, *ended))
        commands += self._fold()
        self._note(commands, {"number": self.number, "done": self.done, "failed": self.failed, "rate": self._rate()})
        if len(self._folded) >= SHARDS_EACH:
            self._flush(SHARDS_EACH)

    def _fold(self, *, all: bool = False) -> list[Command]:
        commands: list[Command] = []
        for shard in sorted(self.shards.values(), key=lambda one: one.start):
            if shard.done:
                del self.shards[shard.number]
                self._folded.append(shard)
                commands += [("HDEL", SHARDS, shard.number), ("RPUSH", FOLDED, shard.encode())]
            elif not all:
                break
        return commands

    def close_round(self) -> None:
        """What is done goes to the index, whatever is not."""
        self._note(self._fold(all=True), {})
        while self._folded:
            self._flush(min(SHARDS_EACH, len(self._folded)))

    def _flush(self, count: int) -> None:
        self._index.write(self.round, self.indexed, self._folded[:count])
        self.indexed += 1
        del self._folded[:count]
        self._note([("LTRIM", FOLDED, count, -1)], {"indexed": self.indexed})

    def _note(self, commands: Sequence[Command], fields: Mapping[str, str | int | bytes]) -> None:
        event = ""
        if "done" in fields and self._worth_telling():
            self._told, self._told_done, event = self._clock(), self.done, "scoring.progress"
        self.status = self._hold.note(commands=commands, fields=fields, event=event)

    def _worth_telling(self) -> bool:
        """Whether a webhook is to hear of the progress since it heard of it last."""
        since_s, total = self._clock() - self._told, self.scoring.total
        brisk = total > 0 and self.done - self._told_done >= SHARE * total
        return since_s >= (BRISK_S if brisk else SLOW_S)

    def _rate(self) -> str:
        now = self._clock()
        while len(self._samples) > 1 and now - self._samples[0][0] > RATE_S:
            self._samples.popleft()
        since, done = self._samples[0]
        self._samples.append((now, self.done))
        return f"{(self.done - done) / (now - since):.3f}" if now > since else "0"


def _put(shard: Shard) -> Command:
    return ("HSET", SHARDS, shard.number, shard.encode())
