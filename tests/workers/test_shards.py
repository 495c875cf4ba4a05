"""Shards in a real executor: every row has an outcome of its own, in order, whatever its neighbours do."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from storage.folder import UNFINISHED, Folder
from storage.objects import Objects
from tasks.message import Message, Shard
from tests.farm import repository
from tests.models.repository import write
from tests.workers import tables
from workers import wire
from workers.executor import Executor, ExecutorDied, ExecutorHung

#: Sorts rows by weight; tells with whom a row ran, and how the model was asked.
COMPANY = """
name: company
runtime: python
inputs: [{name: text, datatype: BYTES, shape: [-1]}, {name: n, datatype: INT64, shape: [-1]}]
outputs:
  - {name: with, datatype: BYTES, shape: [-1]}
  - {name: n, datatype: INT64, shape: [-1]}
  - {name: half, datatype: FP32, shape: [-1, 2]}
batching: {max_items: 3, weight: {input: text, unit: characters}}
"""
COMPANY_HANDLER = """
import numpy as np

class Handler:
    def preprocess(self, inputs, parameters):
        return {**inputs, "k": np.array([parameters.get("k", 0)] * len(inputs["n"]))}

class Model:
    def load(self, device):
        pass

    def predict(self, batch):
        if len(batch["text"]) > 1 and "memory" in batch["text"] or "never" in batch["text"]:
            raise MemoryError
        half = np.array([[n / 2, k] for n, k in zip(batch["n"], batch["k"])], dtype=np.float32)
        half[batch["n"] == 13] = np.nan
        return {"with": ["|".join(batch["text"])] * len(half), "n": batch["n"] * 2, "half": half}
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = repository.build(tmp_path_factory.mktemp("repository"), "echo", "trouble")
    write(folder, COMPANY, COMPANY_HANDLER, name="company")
    return folder


@pytest.fixture
def objects(models: Path) -> Iterator[Folder]:
    folder = Folder(models.parent / "objects")
    yield folder
    folder.delete_prefix("local/")


def started(models: Path, model: str) -> Executor:
    executor = Executor(wire.Spec(str(models), model, "1", "cpu:0", (models.parent / "objects").as_uri()), threads=1)
    executor.load()
    return executor


@pytest.fixture(scope="module")
def company(models: Path) -> Iterator[Executor]:
    executor = started(models, "company")
    yield executor
    executor.kill()


@pytest.fixture
def trouble(models: Path) -> Iterator[Executor]:
    executor = started(models, "trouble")
    yield executor
    executor.kill()


def go_on(executor: Executor, *begin: Message, drop: Message | None = None, timeout_s: float = 30) -> wire.Sliced:
    """One slice, with shards to begin or to drop."""
    items = [wire.Item(message.id, 1, message.encode()) for message in begin]
    executor.send_slice(wire.Slice(items, [(drop.id, 1)] if drop else []))
    return executor.receive_slice(timeout_s)


def slices(executor: Executor, message: Message, *, timeout_s: float = 30) -> list[wire.Sliced]:
    """All slices of a shard."""
    found = [go_on(executor, message, timeout_s=timeout_s)]
    while not found[-1].ended:
        found.append(go_on(executor, timeout_s=timeout_s))
    return found


def run(executor: Executor, message: Message) -> wire.Result:
    (end,) = slices(executor, message)[-1].ended
    assert (end.id, end.token) == (message.id, 1)
    return end.result


def error(result: wire.Result) -> dict[str, Any]:
    problem: dict[str, Any] = json.loads(result.error)
    return problem


def test_rows_come_out_in_order_however_they_were_batched(company: Executor, objects: Objects) -> None:
    texts = ["cccc", "a", "bbb", "d", "eeee", "ff"]
    tables.put(objects, tables.table(100, ids=True, text=texts, n=[1, 2, 3, 4, 5, 6]))
    found = slices(company, tables.message("company", rows=6, parameters={"k": 7}))
    (end,) = found[-1].ended
    result, table, failures = tables.told(objects, end.result.outputs)
    light, heavy = "a|d|ff", "bbb|cccc|eeee"
    assert table.to_pydict() == {
        "row": list(range(100, 106)),
        "custom_id": [f"id-{n}" for n in range(100, 106)],
        "out:with": [f'"{light if len(text) < 3 else heavy}"' for text in texts],
        "out:n": [2, 4, 6, 8, 10, 12],
        "out:half": [[n / 2, 7.0] for n in range(1, 7)],
    }
    assert not failures
    assert (result["rows"], result["failed"], result["failures"]) == (6, 0, "")
    assert result["bytes"] == objects.size(result["output"])
    assert (sum(one.rows for one in found), sum(one.batches for one in found)) == (6, 2)
    assert result["compute_ms"] == pytest.approx(sum(one.compute_ms for one in found), abs=0.001)
    assert result["compute_ms"] == pytest.approx(end.compute_ms, abs=0.001)


def test_only_the_rows_at_fault_fail(company: Executor, objects: Objects) -> None:
    texts = [{"json": json.dumps(text)} for text in ["a", "b", 3, "never", "e", "memory", "g", "h"]]
    tables.put(objects, tables.table(ids=True, text=texts, n=[0, 13, 2, 3, 4, 5, 6, 7]))
    result, table, failures = tables.told(objects, run(company, tables.message("company", rows=8)).outputs)
    assert table["row"].to_pylist() == [0, 4, 5, 6, 7]
    assert table["out:n"].to_pylist() == [0, 8, 10, 12, 14]
    assert [(one.row, one.custom_id, one.code) for one in failures] == [
        (1, "id-1", "model_error"), (2, "id-2", "invalid_input"), (3, "id-3", "out_of_memory"),
    ]  # fmt: skip
    assert "NaN" in failures[0].detail
    assert "#/inputs/text" in failures[1].detail
    assert (result["rows"], result["failed"]) == (5, 3)


def test_shard_without_a_good_row_has_an_empty_output(trouble: Executor, objects: Objects) -> None:
    tables.put(objects, tables.table(do=["raise"] * 20))
    result, table, failures = tables.told(objects, run(trouble, tables.message("trouble", rows=20)).outputs)
    assert (table.num_rows, table.schema.names) == (0, ["row", "out:did"])
    assert [one.row for one in failures] == list(range(20))
    assert all(one.retryable for one in failures)
    assert (result["rows"], result["failed"]) == (0, 20)


def test_shard_run_twice_comes_out_the_same_under_other_keys(models: Path, objects: Objects) -> None:
    echo = started(models, "echo")
    x = np.random.default_rng(1).random((1000, 16), dtype=np.float32)
    tables.put(objects, tables.table(x=list(x)))
    message = tables.message("echo", rows=1000)
    first, second = (tables.told(objects, run(echo, message).outputs) for _ in range(2))
    echo.stop()
    assert np.array_equal(np.array(first.table["out:y"].to_pylist(), dtype=np.float32), x)
    assert first.result["output"] != second.result["output"]
    assert objects.read(first.result["output"]) == objects.read(second.result["output"])


def test_jobs_run_between_the_slices_of_a_shard(trouble: Executor, objects: Objects, tmp_path: Path) -> None:
    # One micro-batch takes longer than a slice; so there are several.
    tables.put(objects, tables.table(do=["sleep 0.02"] * 24))
    shard = tables.message("trouble", rows=24)
    told = go_on(trouble, shard)
    job = msgspec.structs.replace(shard, id="job_1", shard=None, inputs=msgspec.Raw(b'{"do": "hello"}')).encode()
    rows = 0
    while not told.ended:
        rows += told.rows
        assert told.rows <= 8
        (result,) = trouble.run([wire.Item("job_1", 1, job)], timeout_s=30).results
        assert result.outputs == b'{"did":["hello"]}'
        told = go_on(trouble)
    assert rows + told.rows == 24


def test_next_shard_is_asked_for_in_time_and_each_has_its_own_end(trouble: Executor, objects: Objects) -> None:
    tables.put(objects, tables.table(do=["sleep 0.02"] * 8 * 5))
    first = tables.message("trouble", id="scr_1-0", rows=40)
    found = [go_on(trouble, first)]
    while not found[-1].wants:
        found.append(go_on(trouble))
    assert 0 < sum(one.rows for one in found) < 40, "while some is left to compute"
    tables.put(objects, tables.table(500, do=["b"] * 3), tables.ROWS + "2")
    second = tables.message("trouble", id="scr_1-1", rows=3, shard=Shard(tables.ROWS + "2", tables.OUTPUT + "2"))
    found.append(go_on(trouble, second))
    while sum(len(one.ended) for one in found) < 2:
        found.append(go_on(trouble))
    ends = {end.id: end for one in found for end in one.ended}
    assert tables.told(objects, ends["scr_1-0"].result.outputs).result["rows"] == 40
    assert tables.told(objects, ends["scr_1-1"].result.outputs).table["row"].to_pylist() == [500, 501, 502]
    assert ends["scr_1-0"].compute_ms > ends["scr_1-1"].compute_ms > 0
    assert sum(one.rows for one in found) == 43


def test_dropped_shard_writes_nothing(trouble: Executor, objects: Objects) -> None:
    tables.put(objects, tables.table(do=["sleep 0.02"] * 24))
    shard = tables.message("trouble", rows=24)
    assert not go_on(trouble, shard).ended
    assert not go_on(trouble, drop=shard).ended
    assert run(trouble, msgspec.structs.replace(shard, id="scr_1-1")).outputs
    assert len(list(objects.keys("local/scorings/scr_1/out/"))) == 1


def test_row_that_kills_or_hangs_ends_the_executor(trouble: Executor, models: Path, objects: Objects) -> None:
    tables.put(objects, tables.table(do=["a", "die"]))
    with pytest.raises(ExecutorDied, match="SIGSEGV"):
        slices(trouble, tables.message("trouble"))
    tables.put(objects, tables.table(do=["a", "hang"]))
    other = started(models, "trouble")
    with pytest.raises(ExecutorHung):
        slices(other, tables.message("trouble"), timeout_s=1)


@pytest.mark.parametrize(
    ("shard", "code", "reason"),
    [
        (Shard("local/none.arrow", tables.OUTPUT), "not_found", "local/none.arrow"),
        (Shard("other/rows.arrow", tables.OUTPUT), "invalid_input", "not one of tenant local"),
        (Shard(tables.ROWS, "other/out"), "invalid_input", "not one of tenant local"),
        (Shard("local/text", tables.OUTPUT), "invalid_input", "no Arrow IPC file"),
        (Shard("local/wrong", tables.OUTPUT), "invalid_input", "in:text"),
    ],
)
def test_shard_that_cannot_be_read_fails_with_the_reason(
    company: Executor, objects: Objects, shard: Shard, code: str, reason: str
) -> None:
    objects.put("local/text", [b"row,text\n1,a\n"])
    tables.put(objects, tables.table(word=["a"]), "local/wrong")
    tables.put(objects, tables.table(text=["a"], n=[1]))
    result = run(company, tables.message("company", shard=shard))
    assert error(result)["code"] == code
    assert reason in error(result)["detail"]
    assert not result.retryable


def test_store_that_is_away_costs_the_shard_nothing(models: Path, objects: Objects) -> None:
    tables.put(objects, tables.table(do=["a"]))
    executor = started(models, "trouble")
    unfinished = models.parent / "objects" / UNFINISHED
    unfinished.rmdir()
    unfinished.write_text("where files are written there is no folder")
    try:
        result = run(executor, tables.message("trouble"))
    finally:
        unfinished.unlink()
        executor.stop()
    assert error(result)["code"] == "objects_unavailable"
    assert (result.retryable, result.charged) == (True, False)
    assert len(result.written) == 1, "what it may have stored is not forgotten"


def test_thousand_bad_rows_are_ten_words_in_the_log(
    models: Path, objects: Objects, capfd: pytest.CaptureFixture[str]
) -> None:
    executor = started(models, "trouble")
    tables.put(objects, tables.table(do=["raise"] * 1000))
    told = tables.told(objects, run(executor, tables.message("trouble", rows=1000)).outputs)
    executor.stop()
    assert len(told.failures) == 1000
    logged = capfd.readouterr().err
    assert logged.count("model raised") == 10
    assert "rows failed" in logged
