"""A table's rows through the queue: shards out, results in, both in the rows' order and never far ahead."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from penstock.errors import JobCanceled, JobExpired, PenstockError, UnexpectedAnswer
from penstock.push_link import Link
from penstock.push_message import Envelope, Shard
from penstock.push_results import End, Ends

#: Shards pushed between two looks at what has come back.
TURN = 16
#: Seconds to wait for a result where nothing can be pushed meanwhile.
WAIT_S = 0.2

#: Without any result for so long, what is awaited is pushed once more, and again after twice that, and so on. A job
#: that runs or has ended is not run again, and one that has ended is answered again; one of which nothing is left,
#: neither message nor record, runs as if it were new.
AGAIN_S = 30.0

#: Fetches outputs that are too large for the record.
Fetch = Callable[[str], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class PushedRow:
    """What the model made of one row: `outputs`, or the `error` for which there are none."""

    #: Counted from 0, in the order of the rows pushed.
    number: int
    #: Output names to this row's values.
    outputs: Mapping[str, Any] | None = None
    error: PenstockError | None = None
    #: The job that the row was part of.
    job_id: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is, in rows."""

    pushed: int = 0
    done: int = 0
    failed: int = 0


class Place:
    """One shard of the table, and what is known of its rows."""

    def __init__(self, shard: Shard) -> None:
        self.start = shard.start
        self.rows: list[PushedRow | None] = [None] * len(shard.rows)
        self.missing = len(shard.rows)

    def put(self, row: PushedRow) -> None:
        self.rows[row.number - self.start] = row
        self.missing -= 1

    def ready(self) -> Iterator[PushedRow]:
        return (row for row in self.rows if row is not None)


class Run:
    """Iterates over what the model made of each row, in order; raises where broker or store are gone for good.

    Where a shard of several rows fails, its rows go once more, each as a job of its own: a bad one fails alone.
    """

    def __init__(
        self,
        link: Link,
        ends: Ends,
        envelope: Envelope,
        shards: Iterator[Shard],
        *,
        ahead: int,
        fetch: Fetch,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self._link, self._ends, self._envelope, self._shards = link, ends, envelope, shards
        self._ahead, self._fetch, self._tell = ahead, fetch, progress
        #: In the table's order.
        self._open: deque[Place] = deque()
        self._awaited: dict[str, tuple[Place, Shard]] = {}
        self._progress = Progress()
        self._heard_s, self._again_s = time.monotonic(), AGAIN_S

    def __iter__(self) -> Iterator[PushedRow]:
        more = True
        while more or self._open:
            more = more and self._fill()
            for refusal in self._link.refused().values():
                raise refusal
            wait_s = 0.0 if more and len(self._open) < self._ahead else WAIT_S
            ends = self._ends.take(wait_s)
            for end in ends:
                self._settle(end)
            self._ask_again(heard=bool(ends))
            while self._open and not self._open[0].missing:
                yield from self._open.popleft().ready()

    def _fill(self) -> bool:
        """Push a few shards; False once there are no more."""
        room = min(TURN, self._ahead - len(self._open))
        taken = 0
        for shard in islice(self._shards, room):
            taken += 1
            place = Place(shard)
            self._open.append(place)
            self._send(place, shard)
            self._note(pushed=len(shard.rows))
        return taken == room

    def _send(self, place: Place, shard: Shard) -> None:
        self._awaited[shard.id] = place, shard
        self._ends.expect([shard.id])
        self._link.put(self._envelope.shard(shard))

    def _ask_again(self, *, heard: bool) -> None:
        """Push what is awaited longest once more, after a silence: a message that comes twice is run once."""
        now = time.monotonic()
        if heard or not self._awaited:
            self._heard_s, self._again_s = now, AGAIN_S
        elif now - self._heard_s > self._again_s:
            self._heard_s, self._again_s = now, self._again_s * 2
            for _, shard in list(islice(self._awaited.values(), TURN)):
                self._link.put(self._envelope.shard(shard))

    def _settle(self, end: End) -> None:
        if end.id not in self._awaited:
            # Answered twice.
            return
        place, shard = self._awaited.pop(end.id)
        if end.error is not None and len(shard.rows) > 1 and not isinstance(end.error, JobCanceled | JobExpired):
            for single in shard.singles():
                self._send(place, single)
            return
        rows = list(self._rows(end, shard))
        for row in rows:
            place.put(row)
        self._note(done=len(rows), failed=sum(row.error is not None for row in rows))

    def _rows(self, end: End, shard: Shard) -> Iterator[PushedRow]:
        error: PenstockError | None = end.error
        parts: list[dict[str, Any]] = []
        if error is None:
            try:
                parts = divided(end.outputs if end.outputs is not None else self._fetch(end.id), len(shard.rows))
            except PenstockError as problem:
                error = problem
        for place in range(len(shard.rows)):
            yield PushedRow(shard.start + place, None if error else parts[place], error, end.id)

    def _note(self, *, pushed: int = 0, done: int = 0, failed: int = 0) -> None:
        was = self._progress
        self._progress = Progress(was.pushed + pushed, was.done + done, was.failed + failed)
        if self._tell is not None:
            self._tell(self._progress)


def divided(outputs: Mapping[str, Any], rows: int) -> list[dict[str, Any]]:
    """A job's outputs, row by row; raises UnexpectedAnswer where one has not a value for each."""
    for name, values in outputs.items():
        if not isinstance(values, list) or len(values) != rows:
            raise UnexpectedAnswer(f"the output {name!r} has not one value for each of the {rows} rows pushed")
    return [{name: values[place] for name, values in outputs.items()} for place in range(rows)]
