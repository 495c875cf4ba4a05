"""A bare model file becomes a model whose manifest fits it, or nothing is left behind."""

import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from errors import LoadError, PackageError, VersionExists
from models.catalog import Catalog
from models.describing import Port
from tests.models.tensorflow_files import write_saved_model, write_tflite
from workers.adopting import ALIKE, FIXED, MIXED, Adopted, adopt

FLOAT, INT64, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING


def tensor(name: str, kind: int, shape: Sequence[int | str | None]) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def graph(
    file: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], weights: Sequence[Any] = (), **how: Any
) -> Path:
    made = helper.make_graph(nodes, "g", inputs, outputs, list(weights))
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), file, **how)
    return file


def linear(file: Path, rows: int | str = "batch", **how: Any) -> Path:
    """y = x · w, with weights large enough to be kept elsewhere."""
    weights = numpy_helper.from_array(np.ones((4, 600), dtype=np.float32), "w")
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    return graph(file, [node], [tensor("x", FLOAT, [rows, 4])], [tensor("y", FLOAT, [rows, 600])], [weights], **how)


def make(file: Path, **how: Any) -> Adopted:
    options: dict[str, Any] = {"runtime": "", "torchscript": False, "told": []}
    return adopt("new", file, file.parent / "r", **(options | how))


def entry(file: Path) -> Any:
    catalog = Catalog.load(file.parent / "r")
    assert catalog.broken == ()
    return catalog.get("new")


def test_graph_tells_names_types_and_shapes(tmp_path: Path) -> None:
    file = linear(tmp_path / "net.onnx")
    done = make(file)
    manifest = entry(file).manifest
    assert [(t.name, t.datatype, t.shape) for t in manifest.inputs] == [("x", "FP32", (-1, 4))]
    assert [(t.name, t.datatype, t.shape) for t in manifest.outputs] == [("y", "FP32", (-1, 600))]
    assert (manifest.runtime, manifest.example, manifest.batching.max_items) == ("onnx", {"x": [[0.5] * 4]}, 8)
    assert done.remarks == (ALIKE,)
    assert sorted(path.name for path in (tmp_path / "r").iterdir()) == ["new"]


def test_weights_in_another_file_come_along(tmp_path: Path) -> None:
    file = linear(tmp_path / "net.onnx", save_as_external_data=True, location="net.weights", size_threshold=0)
    make(file)
    assert sorted(path.name for path in entry(file).path.iterdir()) == ["model.onnx", "net.weights"]


def test_sizes_that_the_graph_leaves_open_are_found_by_trying(tmp_path: Path) -> None:
    # Reshaped to rows of 64: only some sizes of the open axis run.
    shape = numpy_helper.from_array(np.array([-1, 64], dtype=np.int64), "s")
    nodes = [helper.make_node("Reshape", ["x", "s"], ["y"])]
    file = graph(tmp_path / "n.onnx", nodes, [tensor("x", FLOAT, ["b", "n"])], [tensor("y", FLOAT, ["b", 64])], [shape])
    done = make(file)
    assert entry(file).manifest.example == {"x": [[0.5] * 64]}
    assert any("rows may differ in size" in remark for remark in done.remarks)


def test_large_example_is_told_by_value_and_shape(tmp_path: Path) -> None:
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    size: list[int | str | None] = ["b", 3, 64, 64]
    file = graph(tmp_path / "n.onnx", nodes, [tensor("x", FLOAT, size)], [tensor("y", FLOAT, size)])
    make(file)
    assert entry(file).manifest.example == {"x": {"fill": 0.5, "shape": [1, 3, 64, 64]}}


def test_strings_and_odd_names_are_written_well(tmp_path: Path) -> None:
    nodes = [helper.make_node("Identity", ["in:0"], ["yes"])]
    file = graph(tmp_path / "n.onnx", nodes, [tensor("in:0", STRING, ["b"])], [tensor("yes", STRING, ["b"])])
    make(file)
    manifest = entry(file).manifest
    assert (manifest.inputs[0].name, manifest.outputs[0].name) == ("in:0", "yes")
    assert manifest.example == {"in:0": ["example"]}


def test_model_whose_rows_influence_each_other_shares_no_batch(tmp_path: Path) -> None:
    axis = numpy_helper.from_array(np.array(0, dtype=np.int64), "axis")
    nodes = [helper.make_node("CumSum", ["x", "axis"], ["y"])]
    file = graph(tmp_path / "n.onnx", nodes, [tensor("x", FLOAT, ["t", 2])], [tensor("y", FLOAT, ["t", 2])], [axis])
    assert make(file).remarks == (MIXED,)
    manifest = entry(file).manifest
    assert not manifest.rowed
    assert manifest.batching.max_items == 1


def test_fixed_batch_axis_is_told(tmp_path: Path) -> None:
    file = linear(tmp_path / "net.onnx", rows=1)
    assert make(file).remarks == (FIXED,)
    assert entry(file).manifest.batching.max_items == 1


def test_openvino_reads_the_same_file(tmp_path: Path) -> None:
    nodes = [helper.make_node("Mul", ["ids", "ids"], ["y"])]
    file = graph(tmp_path / "n.onnx", nodes, [tensor("ids", INT64, ["b", 2])], [tensor("y", INT64, ["b", 2])])
    assert make(file, runtime="openvino").runtime == "openvino"
    assert entry(file).manifest.inputs[0].datatype == "INT64"


@pytest.mark.parametrize("kind", ["lite.tflite", "saved"])
def test_tensorflow_files_are_read(tmp_path: Path, kind: str) -> None:
    w, b = np.ones((2, 3), dtype=np.float32), np.zeros(3, dtype=np.float32)
    (write_tflite if kind == "lite.tflite" else write_saved_model)(tmp_path / kind, w, b)
    assert make(tmp_path / kind).runtime == "openvino"
    assert entry(tmp_path / kind).manifest.inputs[0].shape[-1] == 2


class Net(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sum(1, keepdim=True)


def test_exported_program_tells_as_much(tmp_path: Path) -> None:
    file = tmp_path / "net.pt2"
    example = (torch.rand(2, 3),)
    torch.export.save(torch.export.export(Net(), example, dynamic_shapes=({0: torch.export.Dim("b")},)), file)
    make(file)
    manifest = entry(file).manifest
    assert (manifest.runtime, manifest.inputs[0].shape, manifest.outputs[0].shape) == ("torch", (-1, 3), (-1, 1))


def test_torchscript_is_taken_where_it_is_asked_for_and_told(tmp_path: Path) -> None:
    file = tmp_path / "net.pt"
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        torch.jit.trace(Net(), torch.rand(2, 3)).save(file)  # type: ignore[no-untyped-call]
    with pytest.raises(PackageError, match="is a pickle, or TorchScript"):
        make(file)
    with pytest.raises(PackageError, match="--input x:FP32:-1,3,224,224"):
        make(file, torchscript=True)
    make(file, torchscript=True, told=[Port("x", "FP32", (-1, 3))])
    assert entry(file).manifest.outputs[0].shape == (-1, 1)


def test_broken_file_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"nothing")
    with pytest.raises(PackageError, match=r"net\.onnx: "):
        make(tmp_path / "net.onnx")
    assert list((tmp_path / "r").iterdir()) == []


def test_library_that_dies_of_a_file_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "false")
    with pytest.raises(PackageError, match="cannot be read: its process ended with 1"):
        make(linear(tmp_path / "net.onnx"))


def test_model_that_answers_no_numbers_leaves_nothing(tmp_path: Path) -> None:
    nodes = [helper.make_node("Neg", ["x"], ["m"]), helper.make_node("Log", ["m"], ["y"])]
    file = graph(tmp_path / "n.onnx", nodes, [tensor("x", FLOAT, ["b", 2])], [tensor("y", FLOAT, ["b", 2])])
    with pytest.raises(LoadError, match="its example fails: output 'y': holds NaN"):
        make(file)
    assert list((tmp_path / "r").iterdir()) == []


def test_model_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    file = linear(tmp_path / "net.onnx")
    make(file)
    with pytest.raises(VersionExists, match="r/new is there"):
        make(file)


@pytest.mark.parametrize(
    ("name", "how", "reason"),
    [
        ("net.txt", {}, "no format that is known by its ending; known are .onnx, .pt2"),
        ("gone.onnx", {}, "no such file"),
        ("net.onnx", {"runtime": "torch"}, "runtime 'torch' does not read net.onnx"),
    ],
)
def test_file_of_no_use_is_told(tmp_path: Path, name: str, how: dict[str, Any], reason: str) -> None:
    if name != "gone.onnx":
        (tmp_path / name).touch()
    with pytest.raises((PackageError, LoadError), match=reason):
        make(tmp_path / name, **how)


def test_filled_example_is_checked(tmp_path: Path) -> None:
    file = linear(tmp_path / "net.onnx")
    make(file)
    place = tmp_path / "r" / "new" / "model.yaml"
    text = place.read_text()
    for example, reason in (
        ({"fill": 0.5, "shape": [1, 5]}, "does not fit the declared"),
        ({"fill": "a", "shape": [1, 4]}, "is no FP32"),
        ({"fill": 1e300, "shape": [1, 4]}, "is no FP32"),
        ({"fill": 0.5, "shape": [2**40, 4]}, "takes more than"),
        ({"fill": 0.5}, "has the keys fill and shape"),
    ):
        place.write_text(text.replace("x: [[0.5, 0.5, 0.5, 0.5]]", f"x: {json.dumps(example)}"))
        (broken,) = Catalog.load(tmp_path / "r").broken
        assert reason in broken.reason
