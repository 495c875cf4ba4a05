"""One batch's way through a model: every call has an outcome of its own.

A call whose preprocessing fails never reaches the model. A batch that raises is run again call by
call, so that only the offender fails; one that runs out of memory is halved until one row is left.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from errors import OutOfMemory, PenstockError
from models import batch, measuring, outputs
from models.arrays import Batch
from models.batch import Piece
from models.ceiling import Ceiling
from models.failures import MAX_DETAIL, DeviceBroken, is_device_broken, is_out_of_memory, translate
from models.handler import Handler
from models.manifest import Manifest

#: One call of the runtime: tensors of a whole batch in, tensors of the same rows out.
Predict = Callable[[Batch], Any]


@dataclass(frozen=True, slots=True)
class Call:
    """One job as the model sees it."""

    inputs: Batch
    parameters: dict[str, Any] = field(default_factory=dict)


#: Outputs as rows, or why there are none.
Outcome = Batch | PenstockError


class Spent(NamedTuple):
    """Where a batch's time went, milliseconds."""

    #: In preprocessing.
    prepare_ms: float
    #: In the model, batches put together and taken apart.
    compute_ms: float
    #: In postprocessing.
    finish_ms: float


class Run:
    """The state of one batch while it is run."""

    def __init__(
        self,
        manifest: Manifest,
        handler: Handler,
        predict: Predict,
        calls: Sequence[Call],
        ceiling: Ceiling | None = None,
    ) -> None:
        self.manifest = manifest
        self.handler = handler
        self.predict = predict
        self.calls = calls
        self.failed: dict[int, PenstockError] = {}
        self.parts: list[list[tuple[int, Batch]]] = [[] for _ in calls]
        self.spent = Spent(0.0, 0.0, 0.0)
        self.ceiling = ceiling or Ceiling()
        #: Chunks that found no memory, by load and calls; and the loads of those that did.
        self.too_large: list[tuple[int, set[int]]] = []
        self.held: list[int] = []

    def outcomes(self) -> list[Outcome]:
        """Run the batch: an outcome for each call, in order."""
        started = perf_counter()
        pieces = [piece for index in range(len(self.calls)) for piece in self.prepare(index)]
        prepared = perf_counter()
        for chunk in self.chunks(pieces):
            for part in self.within_memory(chunk):
                self.run_chunk(part)
                self.ceiling.learn(self.fault_of_size(), self.held)
                self.too_large, self.held = [], []
        ran = perf_counter()
        made = [self.finish(index) for index in range(len(self.calls))]
        self.spent = Spent((prepared - started) * 1000, (ran - prepared) * 1000, (perf_counter() - ran) * 1000)
        return made

    def chunks(self, pieces: list[Piece]) -> list[list[Piece]]:
        if not self.manifest.rowed:
            return [[piece] for piece in pieces]
        batching = self.manifest.batching
        return batch.plan(pieces, max_items=batching.max_items, max_weight=batching.max_weight, pad=batching.pad)

    def within_memory(self, chunk: list[Piece]) -> Iterator[list[Piece]]:
        """The chunk in parts that the ceiling allows as it stands when each is asked for."""
        while self.manifest.rowed and batch.load(chunk) > self.ceiling.most:
            first, *rest = batch.pack(chunk, self.manifest.batching.max_items, self.ceiling.most)
            yield first
            if not rest:
                return
            chunk = [piece for part in rest for piece in part]
        yield chunk

    def fault_of_size(self) -> list[int]:
        """Loads that found no memory, less those with a job that finds none even alone: that is the job's fault."""
        alone = {index for index, error in self.failed.items() if isinstance(error, OutOfMemory)}
        return [load for load, calls in self.too_large if not calls & alone]

    def prepare(self, index: int) -> list[Piece]:
        """The call's rows as the runtime takes them; none where preprocessing failed."""
        call = self.calls[index]
        try:
            tensors = call.inputs
            if self.handler.preprocess:
                made = self.handler.preprocess(tensors, call.parameters)
                tensors = {name: settled(rows, name in self.manifest.batching.pad) for name, rows in made.items()}
            if not self.manifest.rowed:
                return [Piece(index, 0, 1, tensors)]
            return batch.pieces_of(
                index, tensors, self.manifest.batching.pad, measuring.row_weights(self.manifest, call.inputs)
            )
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a handler is foreign code; its fault is its job's alone
            self.fail(index, error)
            return []

    def run_chunk(self, chunk: list[Piece]) -> None:
        chunk = [piece for piece in chunk if piece.call not in self.failed]
        if not chunk:
            return
        try:
            made = self.predict(batch.join(chunk, self.manifest.batching.pad))
            self.held.append(batch.load(chunk))
            self.keep(chunk, made)
            return
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a model raises becomes an outcome
            raised = error
        if is_device_broken(raised):
            raise DeviceBroken(str(raised)[:MAX_DETAIL]) from raised
        # Outside of `except`, and without its frames, so that their tensors are free before the next try.
        if is_out_of_memory(raised) and self.manifest.rowed:
            smaller = halves(chunk)
            self.too_large.append((batch.load(chunk), {piece.call for piece in chunk}))
        else:
            smaller = by_call(chunk)
        if len(smaller) < 2:
            self.fail(chunk[0].call, raised)
            return
        raised.__traceback__ = None
        for part in smaller:
            self.run_chunk(part)

    def keep(self, chunk: list[Piece], made: Any) -> None:
        """Sort a chunk's outputs to the calls they belong to; raises ModelError where they are not as declared."""
        made = outputs.by_name(made)
        if self.manifest.rowed and (errors := row_errors(made)):
            chunk, made = self.without(chunk, made, errors)
            if not chunk:
                return
        rows = sum(piece.rows for piece in chunk) if self.manifest.rowed else None
        if not self.handler.postprocess:
            made = outputs.validate(self.manifest, made, rows)
        shares = [made] if rows is None else batch.split(made, chunk)
        for piece, share in zip(chunk, shares, strict=True):
            self.parts[piece.call].append((piece.start, share))

    def without(self, chunk: list[Piece], made: Batch, errors: dict[int, BaseException]) -> tuple[list[Piece], Batch]:
        """The chunk and its outputs less the calls that own a row which is an exception."""
        shares = batch.split(made, chunk)
        owners = [piece.call for piece in chunk for _ in range(piece.rows)]
        for row, error in errors.items():
            self.fail(owners[row], error)
        kept = [(piece, share) for piece, share in zip(chunk, shares, strict=True) if piece.call not in self.failed]
        if not kept:
            return [], {}
        return [piece for piece, _ in kept], batch.gather([(order, share) for order, (_, share) in enumerate(kept)])

    def finish(self, index: int) -> Outcome:
        if index in self.failed:
            return self.failed[index]
        call = self.calls[index]
        made = batch.gather(self.parts[index])
        if not (self.handler.preprocess or self.handler.postprocess):
            return made
        try:
            if self.handler.postprocess:
                made = self.handler.postprocess(made, call.parameters)
            rows = batch.row_count(call.inputs) if self.manifest.rowed else None
            return outputs.validate(self.manifest, made, rows)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - as in `prepare`
            return translate(error, self.manifest.name)

    def fail(self, index: int, error: BaseException) -> None:
        self.failed.setdefault(index, translate(error, self.manifest.name))


def settled(rows: Any, ragged: bool) -> Any:
    """What a handler returned as rows: numbers as an array, strings as a list, rows to be padded one by one."""
    if isinstance(rows, np.ndarray):
        return rows
    if not isinstance(rows, (list, tuple)):
        return np.asarray(rows)
    if ragged:
        return [np.asarray(row) for row in rows]
    return list(rows) if rows and isinstance(rows[0], (str, bytes, dict)) else np.asarray(rows)


def row_errors(made: Batch) -> dict[int, BaseException]:
    """Rows that are an exception in place of a value, by number."""
    lists = [rows for rows in made.values() if isinstance(rows, (list, tuple))]
    return {i: row for rows in lists for i, row in enumerate(rows) if isinstance(row, BaseException)}


def halves(chunk: list[Piece]) -> list[list[Piece]]:
    """The chunk's rows in two parts; the chunk itself where it has one row."""
    half = sum(piece.rows for piece in chunk) // 2
    if half == 0:
        return [chunk]
    first: list[Piece] = []
    rest = list(chunk)
    while half:
        piece, tail = rest.pop(0).cut(half)
        if tail:
            rest.insert(0, tail)
        first.append(piece)
        half -= piece.rows
    return [first, rest]


def by_call(chunk: list[Piece]) -> list[list[Piece]]:
    """A chunk for each call, in order."""
    groups: dict[int, list[Piece]] = {}
    for piece in chunk:
        groups.setdefault(piece.call, []).append(piece)
    return list(groups.values())
