"""A shard on its way through an executor's model: its rows fetched, run in micro-batches, its outputs written.

It advances in steps, a micro-batch at most, between which the executor does what is more urgent; what waits for the
object store is done on another thread. A micro-batch that fails is halved until the rows that fail are found: every
row has an outcome of its own. A leaf: with it comes pyarrow, which an executor without shards does not load.
"""

import logging
import uuid
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from errors import InvalidInput, ModelError, NotFound, PayloadTooLarge, PenstockError
from models import columns, failures, microbatches
from models.arrays import Batch
from models.batch import rejoined
from models.failures import DeviceBroken
from models.loading import LoadedModel
from models.microbatches import Picks
from models.scattering import Scatter
from storage.objects import Objects
from storage.scoring import Failure
from tasks.message import Message, Shard
from workers import wire
from workers.owned import check_owned, fetch
from workers.spent import Spent
from workers.wire import failure

log = logging.getLogger("penstock.executor")

#: Rows of JSON texts that are read at once: about what a slice holds.
JSON_ROWS = 512
#: Errors of the model that are logged of one shard; each of its failures is in its error file.
MOST_WORDS = 10

T = TypeVar("T")
#: Steps that lead to a value.
Steps = Generator[None, None, T]


class Words(logging.Filter):
    """Lets the first words pass: a table may have as many bad rows as it has rows."""

    def __init__(self) -> None:
        super().__init__()
        self._left = MOST_WORDS

    def filter(self, record: logging.LogRecord) -> bool:
        self._left -= 1
        return self._left >= 0

    @contextmanager
    def few(self, logger: logging.Logger) -> Iterator[None]:
        logger.addFilter(self)
        try:
            yield
        finally:
            logger.removeFilter(self)


class Opened(NamedTuple):
    table: pa.Table
    batch: Batch
    #: Position in the table of each row of the batch.
    kept: npt.NDArray[np.int64]


class ShardRun:
    """One shard. Not thread-safe: `step` until there is a result."""

    def __init__(
        self, model: LoadedModel, objects: Objects, files: Executor, spent: Spent, message: Message, token: int
    ) -> None:
        """`files` runs what waits for the object store; `spent` is added to."""
        if message.shard is None:
            raise ValueError(f"job {message.id} has no shard")
        self._model = model
        self._manifest = model.manifest
        self._objects = objects
        self._files = files
        self._spent = spent
        self._message = message
        self._shard: Shard = message.shard
        # The token alone would not do: a record that was lost and made anew counts its attempts anew.
        self._attempt = f"{token}-{uuid.uuid4().hex[:12]}"
        self._written: list[str] = []
        self._words = Words()
        self._failures: list[Failure] = []
        self.compute_ms = 0.0
        self._spent_ms = 0.0
        #: What it waits for, where it does.
        self.pending: Future[Any] | None = None
        #: Micro-batches that are left, where that is known.
        self._left: int | None = None
        self._run_batches = 0
        self._steps = self._run()

    def nearly_done(self, within_ms: float) -> bool:
        """Whether its last micro-batch is next, or what is left to compute takes no longer."""
        if self._left is None:
            return False
        return self._left <= 1 or self._left * self.compute_ms / self._run_batches <= within_ms

    def step(self) -> wire.Result | None:
        """A micro-batch at most; its result, when it has one. Raises DeviceBroken: then nothing can be run here.

        Not while it is `pending`.
        """
        try:
            next(self._steps)
        except StopIteration as end:
            result: wire.Result = end.value
            return result
        except PenstockError as error:
            return self._failed(error)
        except DeviceBroken:
            raise
        # One shard's trouble, whatever it is, must not end the process.
        except Exception as error:
            log.exception("shard could not be run", extra={"job": self._message.id})
            return self._failed(ModelError(f"{type(error).__name__}: {error}"))
        return None

    def _failed(self, error: PenstockError) -> wire.Result:
        return msgspec.structs.replace(failure(error), written=tuple(self._written))

    # -- the steps: between two of them the slice may end --------------------------------------------------------

    def _run(self) -> Steps[wire.Result]:
        if reason := self._manifest.unscorable:
            raise InvalidInput(reason)
        for key in (self._shard.rows, self._shard.output):
            check_owned(self._message.tenant, key)
        rows = self._files.submit(fetch, self._objects, self._message.tenant, self._shard.rows)
        yield from self._await(rows)
        opened = yield from self._opened(rows.result())
        scatter = Scatter(self._manifest.outputs, len(opened.kept))
        if len(opened.kept):
            yield from self._computed(opened, scatter)
        return (yield from self._finished(opened, scatter))

    def _await(self, future: Future[Any]) -> Steps[None]:
        self.pending = future
        while not future.done():
            yield None
        self.pending = None

    def _opened(self, data: bytes) -> Steps[Opened]:
        """The rows that can be read; the others fail."""
        with self._timed("decode"):
            table = columns.read_file(data)
            if faults := columns.check(self._manifest.inputs, table.schema):
                raise InvalidInput(f"{faults[0].pointer} {faults[0].detail}", faults=faults)
        parts: list[Batch] = []
        kept = [np.empty(0, dtype=np.int64)]
        step = JSON_ROWS if any(map(columns.is_json, table.schema)) else max(1, table.num_rows)
        for begin in range(0, table.num_rows, step):
            with self._timed("decode"):
                some = columns.decode(self._manifest.inputs, table.slice(begin, step), self._fetch)
                for position, fault in some.faults.items():
                    error = InvalidInput(f"{fault.pointer} {fault.detail}")
                    self._fail(table, begin + position, error)
                if some.kept:
                    parts.append(some.batch)
                    kept.append(positions(some.kept, begin))
            yield None
        with self._timed("decode"):
            return Opened(table, joined(parts), np.concatenate(kept))

    def _computed(self, opened: Opened, scatter: Scatter) -> Steps[None]:
        with self._timed("compute"):
            left = microbatches.plan(self._manifest, opened.batch, len(opened.kept))
        left.reverse()
        while left:
            left += self._micro_batch(opened, scatter, left.pop())
            self._left = len(left)
            yield None

    def _micro_batch(self, opened: Opened, scatter: Scatter, picks: Picks) -> list[Picks]:
        """Run one micro-batch; what is to be run again, in smaller ones, last first."""
        with self._timed("compute"):
            parts = list(microbatches.calls(opened.batch, picks, self._message.parameters))
        again: list[Picks] = []
        with self._words.few(failures.log):
            outcomes = self._model.run([call for _, call in parts])
        spent = self._model.spent
        self._add("decode", spent.prepare_ms)
        self._add("compute", spent.compute_ms)
        self._add("encode", spent.finish_ms)
        self._run_batches += 1
        self._spent.batches += 1
        for (part, _), outcome in zip(parts, outcomes, strict=True):
            if not isinstance(outcome, PenstockError):
                scatter.put(part, outcome)
                self._spent.rows += len(part)
            elif len(part) > 1:
                again += reversed(microbatches.halves(part))
            else:
                self._fail(opened.table, int(opened.kept[part[0]]), outcome)
        return again

    def _finished(self, opened: Opened, scatter: Scatter) -> Steps[wire.Result]:
        self._left = 0
        with self._timed("encode"):
            rows = opened.kept[scatter.kept]
            kept = range(len(rows)) if len(rows) == len(opened.table) else rows.tolist()
            table = columns.output_table(self._manifest.outputs, opened.table, kept, scatter.outputs())
            chunks: list[bytes] = []
            columns.write_file([table], chunks.append)
            size = sum(map(len, chunks))
        output = yield from self._put(f"{self._shard.output}-{self._attempt}.arrow", chunks)
        failed = ""
        if self._failures:
            log.warning("rows failed", extra={"job": self._message.id, "rows": len(self._failures)})
            lines = [msgspec.json.encode(one) + b"\n" for one in sorted(self._failures, key=lambda one: one.row)]
            failed = yield from self._put(f"{self._shard.output}-{self._attempt}.jsonl", lines)
        told = {
            "rows": len(kept), "failed": len(self._failures), "output": output, "failures": failed, "bytes": size,
            "compute_ms": round(self.compute_ms, 3), "spent_ms": round(self._spent_ms, 3),
        }  # fmt: skip
        return wire.Result(outputs=msgspec.json.encode(told), written=tuple(self._written))

    def _put(self, key: str, chunks: list[bytes]) -> Steps[str]:
        # Noted before: a store that does not answer may have taken it all the same.
        self._written.append(key)
        writing = self._files.submit(partial(self._objects.put, key, chunks, digest=False))
        yield from self._await(writing)
        writing.result()
        return key

    def _fail(self, table: pa.Table, position: int, error: PenstockError) -> None:
        named = columns.CUSTOM_ID in table.column_names
        custom = table[columns.CUSTOM_ID][position].as_py() if named else None
        row = table[columns.ROW][position].as_py()
        self._failures.append(Failure(row, custom, error.code, error.detail, error.retryable))
        self._spent.rows += 1

    def _fetch(self, key: str) -> bytes:
        """What a row refers to; what it may not have is not there."""
        try:
            return fetch(self._objects, self._message.tenant, key)
        except (InvalidInput, PayloadTooLarge) as error:
            raise NotFound(error.detail) from error

    def _add(self, stage: str, ms: float) -> None:
        self._spent.stages_ms[stage] += ms
        self._spent_ms += ms
        if stage == "compute":
            self.compute_ms += ms

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        begun_s = perf_counter()
        try:
            yield
        finally:
            self._add(stage, (perf_counter() - begun_s) * 1000)


def positions(kept: Sequence[int], begin: int) -> npt.NDArray[np.int64]:
    """Counted from the table's beginning, where they were from `begin` on."""
    if len(kept) == kept[-1] + 1:
        return np.arange(begin, begin + len(kept))
    return begin + np.asarray(kept, dtype=np.int64)


def joined(parts: Sequence[Batch]) -> Batch:
    """The rows of several batches, one after the other."""
    if len(parts) == 1:
        return parts[0]
    return {name: rejoined([part[name] for part in parts]) for name in parts[0]} if parts else {}
