"""Rows files made ahead of their time: the next shards are read and stored while those before them are put out.

A row is decoded by one thread, in order, and stored by others: a store answers late, and takes several at once.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from storage.scoring import Failure
from tasks.scoring.cutting import Cut

#: Shards that are ready, or on their way to the store.
DEPTH = 4
WRITERS = 2


class Ready(NamedTuple):
    """A shard whose rows lie in the store, if it has any: they are not held here, it may wait for long."""

    start: int
    end: int
    rows: int
    failures: Sequence[Failure]
    #: Key of its rows file; empty where it has no rows.
    rows_key: str


class Ahead(Iterator[Ready]):
    """Cuts with their rows stored, in order; raises what reading and storing raise. To be closed."""

    def __init__(self, cuts: Iterator[Cut], store: Callable[[Cut], str]) -> None:
        """`store` puts a cut's rows into the object store and gives their key."""
        self._cuts = cuts
        self._store = store
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="cutting")
        self._writers = ThreadPoolExecutor(WRITERS, thread_name_prefix="storing")
        self._coming: deque[Future[Future[Ready] | None]] = deque()
        self._ended = False

    def __next__(self) -> Ready:
        while len(self._coming) < DEPTH and not self._ended:
            self._coming.append(self._reader.submit(self._read))
        if not self._coming:
            raise StopIteration
        found = self._coming.popleft().result()
        if found is None:
            self._ended = True
            self._coming.clear()
            raise StopIteration
        return found.result()

    def close(self) -> None:
        """Read no more; what is being stored is waited for."""
        self._ended = True
        self._reader.shutdown(cancel_futures=True)
        self._writers.shutdown(cancel_futures=True)

    def _read(self) -> Future[Ready] | None:
        cut = next(self._cuts, None)
        return None if cut is None else self._writers.submit(self._put, cut)

    def _put(self, cut: Cut) -> Ready:
        rows = cut.rows.num_rows if cut.rows is not None else 0
        return Ready(cut.start, cut.end, rows, cut.failures, self._store(cut) if rows else "")
