"""Every call of a batch has an outcome of its own, whatever its neighbours do."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from errors import InvalidInput, ModelError, OutOfMemory, PenstockError
from models.arrays import Batch
from models.ceiling import OPEN
from models.failures import DeviceBroken
from models.handler import Handler
from models.loading import LoadedModel, load
from models.manifest import Batching, Manifest, Tensor
from models.running import Call, Outcome, Run
from tests.models.repository import entry

#: Does what the first number of a row says, to the whole batch; 0 is harmless.
TROUBLE = """
import sys
from errors import InvalidInput

class Model:
    def load(self, device):
        self.seen = []

    def predict(self, batch):
        x = batch["x"]
        self.seen.append(len(x))
        words = {int(row[0]) for row in x}
        if 1 in words: raise ValueError("one is too many")
        if 2 in words: raise InvalidInput("two cannot be read")
        if 3 in words: return {"y": x[:, :1]}
        if 4 in words: return {"y": x[1:]}
        if 5 in words: return None
        if 6 in words: raise MemoryError
        if 7 in words: return {"y": x * float("nan")}
        if 8 in words: sys.exit(1)
        if 9 in words: return {"y": [KeyError("nine") if row[0] == 9 else row * 10 for row in x]}
        return {"y": x * 10}
"""


def trouble(root: Path, **changes: Any) -> LoadedModel:
    return load(entry(root, changes, TROUBLE), "cpu")


def call(*words: int) -> Call:
    """A call whose rows begin with `words`."""
    return Call({"x": np.array([[word, 0.5] for word in words], dtype=np.float32)})


def failure(outcome: Outcome) -> PenstockError:
    assert isinstance(outcome, PenstockError), outcome
    return outcome


def values(outcome: Outcome) -> Any:
    assert isinstance(outcome, dict), outcome
    return outcome["y"].tolist()  # type: ignore[union-attr]


def test_outputs_go_back_to_the_calls_they_belong_to(tmp_path: Path) -> None:
    model = trouble(tmp_path)
    outcomes = model.run([call(0, 10), call(20), call(30, 40, 50)])
    assert [values(outcome) for outcome in outcomes] == [
        [[0, 5], [100, 5]],
        [[200, 5]],
        [[300, 5], [400, 5], [500, 5]],
    ]
    assert model.runtime.seen == [6]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("word", "kind", "said"),
    [
        (1, ModelError, "ValueError: one is too many"),
        (2, InvalidInput, "two cannot be read"),
        (3, ModelError, "output 'y': expected FP32 [1, 2], got float32 [1, 1]"),
        (4, ModelError, "output 'y': expected FP32 [1, 2], got float32 [0, 2]"),
        (5, ModelError, "the model returned NoneType where a dict of outputs by name is expected"),
        (6, OutOfMemory, "ran out of memory"),
        (7, ModelError, "holds NaN"),
        (8, ModelError, "SystemExit: 1"),
        (9, ModelError, "KeyError: 'nine'"),
    ],
)
def test_only_the_offender_fails(tmp_path: Path, word: int, kind: type[PenstockError], said: str) -> None:
    outcomes = trouble(tmp_path).run([call(10), call(word), call(20), call(30)])
    assert [values(outcomes[i]) for i in (0, 2, 3)] == [[[100, 5]], [[200, 5]], [[300, 5]]]
    assert type(outcomes[1]) is kind
    assert said in failure(outcomes[1]).detail


def test_one_bad_row_fails_its_call_and_no_other(tmp_path: Path) -> None:
    outcomes = trouble(tmp_path).run([call(10), call(20, 9, 30), call(40)])
    assert "KeyError" in failure(outcomes[1]).detail
    assert values(outcomes[0]) == [[100, 5]]
    assert values(outcomes[2]) == [[400, 5]]


def test_no_stack_trace_reaches_the_client(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (outcome,) = trouble(tmp_path).run([call(1)])
    assert "Traceback" not in str(failure(outcome).problem())
    assert "one is too many" in str(caplog.records[0].exc_info)


def test_big_call_is_run_in_several_of_at_most_max_items(tmp_path: Path) -> None:
    model = trouble(tmp_path, batching={"max_items": 4})
    (outcome,) = model.run([call(*range(10, 20))])
    assert [row[0] for row in values(outcome)] == [100 + 10 * i for i in range(10)]
    assert model.runtime.seen == [4, 4, 2]  # type: ignore[attr-defined]


def test_batch_without_memory_is_halved_until_it_fits(tmp_path: Path) -> None:
    handler = """
class Model:
    def load(self, device): self.seen = []
    def predict(self, batch):
        self.seen.append(len(batch["x"]))
        if len(batch["x"]) > 2: raise RuntimeError("CUDA error: out of memory")
        return {"y": batch["x"]}
"""
    model = load(entry(tmp_path, handler=handler), "cpu")
    outcomes = model.run([call(1, 2, 3), call(4), call(5, 6, 7, 8)])
    assert [len(values(outcome)) for outcome in outcomes] == [3, 1, 4]
    assert model.runtime.seen == [8, 4, 2, 2, 4, 2, 2]  # type: ignore[attr-defined]


#: Holds as many rows as its file says; one that begins with -1 fits nowhere.
TIGHT = """
class Model:
    def load(self, device): self.seen, self.holds = [], 10
    def predict(self, batch):
        self.seen.append(len(batch["x"]))
        if len(batch["x"]) > self.holds or -1 in batch["x"]: raise MemoryError
        return {"y": batch["x"]}
"""


def test_size_that_found_no_memory_is_not_tried_again_soon(tmp_path: Path) -> None:
    model = load(entry(tmp_path, {"batching": {"max_items": 64}}, TIGHT), "cpu")
    seen: list[int] = model.runtime.seen  # type: ignore[attr-defined]
    calls = [call(row) for row in range(64)]
    assert [values(outcome)[0][0] for outcome in model.run(calls)] == list(range(64))
    assert (max(seen), model.ceiling.most) == (64, 8)
    seen.clear()
    for _ in range(100):
        assert [values(outcome)[0][0] for outcome in model.run(calls)] == list(range(64))
    # 800 full chunks: it tries a little more now and then, and hardly ever too much.
    assert 8 < max(seen) <= 11
    assert sum(rows > 10 for rows in seen) <= 4


def test_job_that_fits_nowhere_makes_nobody_elses_batch_smaller(tmp_path: Path) -> None:
    model = load(entry(tmp_path, {"batching": {"max_items": 8}}, TIGHT), "cpu")
    outcomes = model.run([call(1), call(-1), call(2), call(3)])
    assert type(outcomes[1]) is OutOfMemory
    assert [values(outcomes[i]) for i in (0, 2, 3)] == [[[1, 0.5]], [[2, 0.5]], [[3, 0.5]]]
    assert model.ceiling.most == OPEN


def test_preprocessing_fails_alone_and_parameters_arrive(tmp_path: Path) -> None:
    handler = """
from errors import InvalidInput

def preprocess(inputs, parameters):
    if parameters.get("refuse"): raise InvalidInput("cannot be read")
    return {"x": inputs["x"] * parameters.get("by", 1)}

def postprocess(outputs, parameters):
    return {"y": outputs["y"] + parameters.get("plus", 0)}

class Model:
    def load(self, device): pass
    def predict(self, batch): return {"y": batch["x"]}
"""
    model = load(entry(tmp_path, handler=handler), "cpu")
    x: Batch = {"x": np.ones((1, 2), np.float32)}
    outcomes = model.run([Call(x, {"by": 3}), Call(x, {"refuse": True}), Call(x, {"plus": 1})])
    assert values(outcomes[0]) == [[3, 3]]
    assert type(outcomes[1]) is InvalidInput
    assert values(outcomes[2]) == [[2, 2]]


@pytest.mark.parametrize(
    ("handler", "said"),
    [
        ("def preprocess(i, p): return {'x': i['x'][:0]}", "have no rows"),
        ("def preprocess(i, p): return {'x': i['x'], 'z': [1, 2, 3]}", "disagree in rows"),
        ("def preprocess(i, p): return None", "AttributeError"),
        ("def postprocess(o, p): return {'y': o['y'][:, :1]}", "expected FP32 [2, 2], got float32 [2, 1]"),
        ("def postprocess(o, p): raise KeyError('label')", "KeyError: 'label'"),
        ("def preprocess(i, p): return {'x': i['x'][:1]}", "expected FP32 [2, 2], got float32 [1, 2]"),
    ],
)
def test_faulty_steps_are_the_models_errors(tmp_path: Path, handler: str, said: str) -> None:
    model = load(entry(tmp_path, handler=handler + "\n" + TROUBLE), "cpu")
    (outcome,) = model.run([call(0, 10)])
    assert type(outcome) is ModelError
    assert said in outcome.detail


def test_model_without_a_row_axis_runs_call_by_call(tmp_path: Path) -> None:
    changes = {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [2]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [2]}],
        "batching": {"max_items": 1},
    }
    model = load(entry(tmp_path, changes), "cpu")
    outcomes = model.run([Call({"x": np.array([i, 1], np.float32)}) for i in (1, 2)])
    assert [values(outcome) for outcome in outcomes] == [[1, 1], [2, 1]]


def manifest(max_items: int) -> Manifest:
    return Manifest(
        name="m",
        runtime="python",
        inputs=(Tensor("x", "INT64", (-1,)),),
        outputs=(Tensor("y", "INT64", (-1,)),),
        batching=Batching(max_items=max_items),
    )


class Steps(Handler):
    """No handler at all."""

    def __init__(self) -> None:
        self.preprocess = self.postprocess = None


@given(
    calls=st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=5), max_size=8),
    poison=st.sets(st.integers(0, 9), max_size=3),
    max_items=st.integers(1, 6),
)
def test_a_call_fails_exactly_when_it_holds_poison(calls: list[list[int]], poison: set[int], max_items: int) -> None:
    """One bad item never fails its neighbours, however the batch was cut."""

    def predict(batch: dict[str, Any]) -> dict[str, Any]:
        if poison & set(batch["x"].tolist()):
            raise ValueError
        return {"y": batch["x"] + 100}

    outcomes = Run(manifest(max_items), Steps(), predict, [Call({"x": np.array(rows)}) for rows in calls]).outcomes()
    for rows, outcome in zip(calls, outcomes, strict=True):
        if poison & set(rows):
            assert type(outcome) is ModelError
        else:
            assert values(outcome) == [row + 100 for row in rows]


@pytest.mark.parametrize(
    "raised",
    [
        torch.AcceleratorError("CUDA error: device-side assert triggered\nCUDA kernel errors might be reported", 710),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("CUDA failure 719: unspecified launch failure ; GPU=0"),
    ],
    ids=["torch", "older torch", "ONNX Runtime"],
)
def test_broken_gpu_ends_the_batch_and_no_neighbour_is_tried_on_it(tmp_path: Path, raised: Exception) -> None:
    tried: list[Batch] = []

    def predict(tensors: Batch) -> Batch:
        tried.append(tensors)
        raise raised

    found = entry(tmp_path)
    with pytest.raises(DeviceBroken, match="CUDA"):
        Run(found.manifest, Handler(found, None), predict, [call(0), call(0)]).outcomes()
    assert len(tried) == 1


def test_error_that_only_sounds_like_a_broken_gpu_is_the_models_own(tmp_path: Path) -> None:
    def predict(tensors: Batch) -> Batch:
        raise ValueError("CUDA error: device-side assert triggered")

    found = entry(tmp_path)
    (outcome,) = Run(found.manifest, Handler(found, None), predict, [call(0)]).outcomes()
    assert isinstance(failure(outcome), ModelError)
