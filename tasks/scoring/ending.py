"""The end of a scoring's round: what is out is called back, what is done is merged, what is left is erased."""

import heapq
import itertools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from storage.job import Status
from storage.objects import Objects
from storage.scoring import Failure, ScoringStatus
from tasks.scoring.afterlife import leftovers
from tasks.scoring.bell import Bell
from tasks.scoring.index import Index
from tasks.scoring.jobs import ShardJobs
from tasks.scoring.ledger import Ledger
from tasks.scoring.merging import failed_rows, merge, merge_failures
from tasks.scoring.parts import Parts, Watch
from tasks.scoring.running import Running
from tasks.scoring.shard import Shard

log = logging.getLogger(__name__)

#: How long shards that run are waited for once nothing new is begun, seconds.
PATIENCE_S = 10.0
#: Failures handed on at once.
TOGETHER = 1000


class Ending:
    """Done again from anywhere, it comes to the same. Raises as what it uses does."""

    def __init__(self, ledger: Ledger, parts: Parts, shard_jobs: ShardJobs, watch: Watch, bell: Bell) -> None:
        self._ledger = ledger
        self._parts = parts
        self._jobs = shard_jobs
        self._watch = watch
        self._bell = bell
        self._spec = ledger.scoring.spec
        self._places = ledger.places
        self._index = Index(parts.objects, self._places)
        self._failed = 0

    def run(self) -> None:
        """From merging or canceling to the end."""
        ledger = self._ledger
        if ledger.round > len(ledger.rounds) + 1:
            # Canceled before this round had begun: everything is as the one before left it.
            ledger.move(ScoringStatus.CANCELED)
            return
        self._call_back()
        if ledger.scoring.erased:
            self._parts.objects.delete_prefix(self._places.all)
            ledger.move(ScoringStatus.CANCELED)
            return
        ledger.close_round()
        fields = self._output() | self._errors()
        self._conclude(fields)
        self._clean()

    def _conclude(self, fields: dict[str, str | int | bytes]) -> None:
        ledger = self._ledger
        # A row that was not run again has its failure still.
        done = ledger.done if ledger.round == 1 else ledger.done_before
        fields |= {"failed": self._failed, "done": done, "rate": "0"}
        to = ScoringStatus(ledger.verdict or ledger.unfinished or ScoringStatus.COMPLETED)
        if ledger.status is ScoringStatus.CANCELING:
            to = ScoringStatus.CANCELED
        if not ledger.verdict and ledger.unfinished_error:
            fields["error"] = ledger.unfinished_error
        ledger.move(to, **fields)
        log.info("scoring ended", extra={"scoring": self._spec.id, "status": to, "rows": done, "failed": self._failed})

    # -- what is out --------------------------------------------------------------------------------------------

    def _call_back(self) -> None:
        """Nobody waits for what is out: queued jobs are canceled, running ones may finish, within a time."""
        until = time.monotonic() + PATIENCE_S
        running = Running(self._ledger, self._parts, self._jobs, self._watch, self._bell)
        asked: set[str] = set()
        while shards := self._ledger.open:
            wanted = [(shard.number, suffix) for shard in shards for suffix in shard.out]
            jobs = self._jobs.get_all(wanted)
            ended = {job.id for job in jobs if job is not None and job.status is Status.SUCCEEDED}
            if ended:
                running.settle(ended)
                continue
            left = [job for job in jobs if job is not None and not job.terminal]
            if not left or time.monotonic() > until:
                self._drop(shards, wanted)
                return
            for job in left:
                if job.id not in asked:
                    self._jobs.cancel(job)
                    asked.add(job.id)
            self._bell.wait(0.2)
            self._watch.check()

    def _drop(self, shards: Sequence[Shard], wanted: Sequence[tuple[int, str]]) -> None:
        self._ledger.replace(shards, [], ended=[self._jobs.id(*one) for one in wanted])
        # One that runs still must find its cancel; its record goes a day after its end.
        jobs = self._jobs.get_all(wanted)
        self._jobs.forget([job.id for job in jobs if job is not None and job.terminal])

    # -- what is done -------------------------------------------------------------------------------------------

    def _shards(self, round: int) -> Iterator[Shard]:
        rounds = [*self._ledger.rounds, self._ledger.indexed]
        return self._index.read(round, rounds[round - 1])

    def _output(self) -> dict[str, str | int | bytes]:
        rounds = [OutputKeys(partial(self._shards, round)) for round in range(1, self._ledger.round + 1)]
        if not any(True for keys in rounds for _ in keys) and self._ledger.status is not ScoringStatus.MERGING:
            return {"output_key": "", "output_bytes": 0}
        key = self._places.output(self._spec.output_format)
        stored = merge(self._spec, self._parts.objects, rounds, key, self._watch.check)
        return {"output_key": key, "output_bytes": stored.bytes}

    def _errors(self) -> dict[str, str | int | bytes]:
        parts = self._counted(batched(self._failures()))
        first = next(parts, None)
        if first is None:
            # Another go at this end reads the file of the round before: it stays until the end is noted.
            return {"errors_key": "", "errors_bytes": 0}
        stored = merge_failures(self._parts.objects, itertools.chain([first], parts), self._places.errors)
        return {"errors_key": self._places.errors, "errors_bytes": stored.bytes}

    def _failures(self) -> Iterator[Failure]:
        """This round's, in row order, and those of the one before whose rows it did not come to."""
        round = self._ledger.round
        new = (one for shard in self._shards(round) for one in failures_of(self._parts.objects, shard))
        if round == 1:
            return new
        ranges = ((shard.start, shard.end) for shard in self._shards(round))
        old = failed_rows(self._parts.objects, self._places.errors) if self._ledger.scoring.errors_key else iter(())
        return heapq.merge(new, outside(old, ranges), key=lambda one: one.row)

    def _counted(self, parts: Iterator[list[Failure]]) -> Iterator[list[Failure]]:
        for part in parts:
            self._watch.check()
            self._failed += len(part)
            yield part

    # -- what is left -------------------------------------------------------------------------------------------

    def _clean(self) -> None:
        # The failed rows may be run again by now, and the next round has rows files of its own.
        doomed = [self._places.rows_now] if self._failed else leftovers(self._places, failed=0)
        for prefix in doomed:
            self._parts.objects.delete_prefix(prefix)


class OutputKeys:
    """Keys of what a round's shards wrote, read from the index each time: a large table has many shards."""

    def __init__(self, shards: Callable[[], Iterator[Shard]]) -> None:
        self._shards = shards

    def __iter__(self) -> Iterator[str]:
        return (shard.output_key for shard in self._shards() if shard.output_key)


def failures_of(objects: Objects, shard: Shard) -> Iterator[Failure]:
    """A shard's failures in row order: of rows that could not be read, and of those that failed in the model."""
    some = [failed_rows(objects, key) for key in (shard.unread_key, shard.failures_key) if key]
    return heapq.merge(*some, key=lambda one: one.row)


def outside(failures: Iterator[Failure], ranges: Iterator[tuple[int, int]]) -> Iterator[Failure]:
    """Failures of rows that lie in none of the ranges; both rise."""
    start, end = next(ranges, (2**63, 2**63))
    for one in failures:
        while one.row >= end:
            start, end = next(ranges, (2**63, 2**63))
        if one.row < start:
            yield one


def batched(failures: Iterator[Failure]) -> Iterator[list[Failure]]:
    while some := list(itertools.islice(failures, TOGETHER)):
        yield some
