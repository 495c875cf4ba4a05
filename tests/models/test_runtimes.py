"""The runtimes that wrap a library: ONNX Runtime and PyTorch."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from safetensors.torch import save_file

from errors import LoadError, ModelError
from models.catalog import Entry
from models.loading import load
from models.running import Call
from tests.models.repository import entry


class Doubling(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.factor


def doubled(found: Entry) -> Any:
    """What the model makes of two calls, the second of two rows from a read-only array."""
    rows = np.array([[3, 4], [5, 6]], dtype=np.float32)
    rows.flags.writeable = False
    outcomes = load(found, "cpu").run([Call({"x": np.array([[1, 2]], np.float32)}), Call({"x": rows})])
    return [outcome["y"].tolist() if isinstance(outcome, dict) else outcome for outcome in outcomes]  # type: ignore


EXPECTED = [[[2, 4]], [[6, 8], [10, 12]]]


def write_onnx(file: Path, output: str = "y") -> None:
    nodes = [helper.make_node("Add", ["x", "x"], [output])]
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", 2]) for name in ("x", output)]
    graph = helper.make_graph(nodes, "doubling", [sides[0]], [sides[1]])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, file)


def test_onnx_graph_runs(tmp_path: Path) -> None:
    found = entry(tmp_path, {"runtime": "onnx"}, "")
    write_onnx(found.path / "model.onnx")
    assert doubled(found) == EXPECTED


def test_onnx_strings_go_in_and_out(tmp_path: Path) -> None:
    changes = {
        "runtime": "onnx",
        "inputs": [{"name": "x", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [{"name": "y", "datatype": "BYTES", "shape": [-1]}],
    }
    found = entry(tmp_path, changes, "")
    sides = [helper.make_tensor_value_info(name, TensorProto.STRING, ["rows"]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "same", [sides[0]], [sides[1]])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, found.path / "model.onnx")
    assert load(found, "cpu").run([Call({"x": ["a", "ü"]})]) == [{"y": ["a", "ü"]}]


def test_onnx_graph_with_other_names_is_refused(tmp_path: Path) -> None:
    found = entry(tmp_path, {"runtime": "onnx"}, "")
    write_onnx(found.path / "model.onnx", output="z")
    with pytest.raises(LoadError, match=r"declares the outputs \['y'\], the graph has \['z'\]"):
        load(found, "cpu")


def test_onnx_without_its_file_names_it(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"model\.onnx: no such file"):
        load(entry(tmp_path, {"runtime": "onnx"}, ""), "cpu")


def test_broken_onnx_file_is_a_load_error(tmp_path: Path) -> None:
    found = entry(tmp_path, {"runtime": "onnx"}, "")
    (found.path / "model.onnx").write_bytes(b"nothing")
    with pytest.raises(LoadError, match="model 'plain' version 1: InvalidProtobuf"):
        load(found, "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize("runtime", ["onnx", "torch"])
def test_a_gpu_that_is_not_there_is_never_replaced_by_the_cpu(tmp_path: Path, runtime: str) -> None:
    found = entry(tmp_path, {"runtime": runtime}, "")
    write_onnx(found.path / "model.onnx")
    with pytest.raises(LoadError):
        load(found, "cuda:0")


@pytest.mark.parametrize("device", ["tpu", "cuda:x"])
def test_unknown_device_is_a_load_error(tmp_path: Path, device: str) -> None:
    found = entry(tmp_path, {"runtime": "onnx"}, "")
    write_onnx(found.path / "model.onnx")
    with pytest.raises(LoadError):
        load(found, device)


def test_torch_export_archive_runs(tmp_path: Path) -> None:
    found = entry(tmp_path, {"runtime": "torch"}, "")
    rows = torch.export.Dim("rows", min=1, max=64)
    program = torch.export.export(Doubling(), (torch.ones(2, 2),), dynamic_shapes=({0: rows},))
    torch.export.save(program, found.path / "model.pt2")
    assert doubled(found) == EXPECTED


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_torchscript_runs_where_it_is_asked_for(tmp_path: Path) -> None:
    found = entry(tmp_path, {"runtime": "torch", "options": {"torchscript": True}}, "")
    torch.jit.trace(Doubling(), (torch.ones(2, 2),)).save(str(found.path / "model.ts"))  # type: ignore[no-untyped-call]
    assert doubled(found) == EXPECTED


def test_torchscript_that_nobody_asked_for_is_refused(tmp_path: Path) -> None:
    found = entry(tmp_path, {"runtime": "torch"}, "")
    (found.path / "model.ts").touch()
    with pytest.raises(LoadError, match=r"only where the manifest says `options: \{torchscript: true\}`"):
        load(found, "cpu")


def test_state_dict_is_loaded_into_the_handlers_network(tmp_path: Path) -> None:
    handler = """
import torch
class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.zeros(()))
    def forward(self, x):
        return {"y": x * self.factor}
"""
    found = entry(tmp_path, {"runtime": "torch"}, handler)
    save_file({"factor": torch.tensor(2.0)}, found.path / "model.safetensors")
    assert doubled(found) == EXPECTED


def test_state_dict_that_does_not_fit_is_a_load_error(tmp_path: Path) -> None:
    found = entry(
        tmp_path,
        {"runtime": "torch"},
        "import torch\nclass Network(torch.nn.Linear):\n    def __init__(self): super().__init__(2, 2)",
    )
    save_file({"factor": torch.tensor(2.0)}, found.path / "model.safetensors")
    with pytest.raises(LoadError, match="RuntimeError: Error"):
        load(found, "cpu")


def test_torch_model_needs_exactly_one_file(tmp_path: Path) -> None:
    found = entry(tmp_path, {"runtime": "torch"}, "")
    with pytest.raises(LoadError, match=r"needs exactly one of .* has none"):
        load(found, "cpu")
    for name in ("model.pt2", "model.ts"):
        (found.path / name).touch()
    with pytest.raises(LoadError, match=r"has model\.pt2, model\.ts"):
        load(found, "cpu")


def test_pickled_model_is_never_loaded(tmp_path: Path) -> None:
    found = entry(tmp_path, {"runtime": "torch"}, "")
    torch.save(Doubling(), found.path / "model.pt")
    with pytest.raises(LoadError, match="has none"):
        load(found, "cpu")


def test_network_with_other_outputs_is_the_models_error(tmp_path: Path) -> None:
    handler = """
import torch
class Network(torch.nn.Module):
    def forward(self, x):
        return x, x
"""
    found = entry(tmp_path, {"runtime": "torch"}, handler)
    save_file({}, found.path / "model.safetensors")
    (outcome,) = load(found, "cpu").run([Call({"x": np.ones((1, 2), np.float32)})])
    assert isinstance(outcome, ModelError)
    assert "the network returned 2 tensors, named are ['y']" in outcome.detail
