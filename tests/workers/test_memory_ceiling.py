"""A real executor whose model runs out of memory: batches are divided, and the next ones are sent smaller."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tasks.message import VERSION, Message
from workers import wire
from workers.batcher import Batcher, Limits
from workers.executor import Executor
from workers.sizing import Sizing

MANIFEST = """\
name: tight
runtime: python
inputs: [{name: x, datatype: INT64, shape: [-1]}]
outputs: [{name: y, datatype: INT64, shape: [-1]}]
batching: {max_items: 64}
"""
#: Holds ten rows; one of -1 fits nowhere. `y` tells how many rows it was run with.
HANDLER = """\
import numpy as np

class Model:
    def load(self, device):
        pass

    def predict(self, batch):
        if len(batch["x"]) > 10 or -1 in batch["x"]:
            raise MemoryError
        return {"y": np.full(len(batch["x"]), len(batch["x"]))}
"""


class Job:
    likeness = ""
    arrived_s = 0.0
    start_by_ms = 0
    rows = weight = 1

    def __init__(self, x: int) -> None:
        inputs = msgspec.Raw(b'{"x": %d}' % x)
        self.item = wire.Item(
            "job", 1, Message(v=VERSION, id="job", model="tight", version="1", inputs=inputs).encode()
        )


@pytest.fixture
def executor(tmp_path: Path) -> Iterator[Executor]:
    (tmp_path / "models" / "tight" / "1").mkdir(parents=True)
    (tmp_path / "models" / "tight" / "model.yaml").write_text(MANIFEST)
    (tmp_path / "models" / "tight" / "handler.py").write_text(HANDLER)
    spec = wire.Spec(str(tmp_path / "models"), "tight", "1", "cpu:0", (tmp_path / "objects").as_uri())
    made = Executor(spec, threads=1)
    made.load()
    yield made
    made.stop()


def together(result: wire.Result) -> int:
    """How many rows the model saw beside and with this one."""
    (count,) = msgspec.json.decode(result.outputs)["y"]
    return int(count)


def test_batch_too_large_for_memory_is_divided_and_the_next_are_smaller(executor: Executor) -> None:
    batcher: Batcher[Job] = Batcher(Limits(64))
    sizing = Sizing(batcher, target_ms=None)
    for x in range(100):
        batcher.put("normal", Job(x))
    sizes, seen = [], []
    while len(batcher):
        batch = batcher.take()
        done = executor.run([job.item for job in batch], timeout_s=30)
        sizing.after(batch, done)
        sizes.append(len(batch))
        seen.append({together(result) for result in done.results})
    assert sizes == [64, 8, 8, 8, 8, 4]
    assert seen == [{8}, {8}, {8}, {8}, {8}, {4}]


def test_job_that_fits_nowhere_fails_alone_and_bounds_nobody(executor: Executor) -> None:
    done = executor.run([Job(x).item for x in (1, 2, -1, 3)], timeout_s=30)
    assert [bool(result.error) for result in done.results] == [False, False, True, False]
    assert msgspec.json.decode(done.results[2].error)["code"] == "out_of_memory"
    assert done.ceiling == 0
