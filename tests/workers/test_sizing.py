"""What batches cost and what memory held decides how large the next one is."""

from typing import NamedTuple

from workers.batcher import Batcher, Limits
from workers.sizing import Sizing
from workers.wire import Done


class Job(NamedTuple):
    rows: int = 1
    weight: int = 1
    likeness: str = ""
    arrived_s: float = 0.0
    start_by_ms: int = 0


def filled(jobs: int, *, max_items: int = 64) -> Batcher[Job]:
    batcher: Batcher[Job] = Batcher(Limits(max_items))
    for _ in range(jobs):
        batcher.put("normal", Job())
    return batcher


def run(batcher: Batcher[Job], sizing: Sizing, *, batches: int) -> list[int]:
    """A model that takes 10 ms and 2 ms a row; the batches' sizes."""
    sizes = []
    for _ in range(batches):
        batch = batcher.take()
        sizing.after(batch, Done([], 0.0, 10.0 + 2 * len(batch), 0.0))
        sizes.append(len(batch))
    return sizes


def test_batches_grow_to_what_the_target_allows() -> None:
    batcher = filled(1000)
    sizes = run(batcher, Sizing(batcher, target_ms=50), batches=40)
    assert sizes[:2] == [1, 1]
    assert max(sizes) == sizes[-1] == 20


def test_without_a_target_nothing_is_held_back() -> None:
    batcher = filled(200)
    assert run(batcher, Sizing(batcher, target_ms=None), batches=3) == [64, 64, 64]


def test_what_memory_did_not_hold_bounds_the_next_batch() -> None:
    batcher = filled(200)
    sizing = Sizing(batcher, target_ms=None)
    sizes = []
    for ceiling in (8, 9, 0):
        sizing.after(batcher.take(), Done([], 0.0, 1.0, 0.0, ceiling))
        sizes.append(len(batcher.take()))
    assert sizes == [8, 9, 64]


def test_declared_bounds_hold_whatever_the_target_allows() -> None:
    batcher = filled(200, max_items=4)
    assert set(run(batcher, Sizing(batcher, target_ms=1000), batches=40)) == {1, 2, 4}
