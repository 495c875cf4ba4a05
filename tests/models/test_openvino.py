"""The runtime OpenVINO, on files in each format that it reads, beside ONNX Runtime and numpy."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from errors import LoadError, ModelError
from models.catalog import Entry
from models.loading import LoadedModel, load
from models.running import Call
from models.runtimes.openvino_ import openvino
from tests.models.repository import entry
from tests.models.tensorflow_files import write_saved_model, write_tflite

RANDOM = np.random.default_rng(20)
W = RANDOM.standard_normal((2, 3), np.float32)
B = RANDOM.standard_normal(3, np.float32)
ROWS = RANDOM.standard_normal((5, 2), np.float32)
EXPECTED = np.maximum(ROWS @ W + B, 0)


def write_onnx(file: Path, input_name: str = "x") -> None:
    nodes = [
        helper.make_node("Gemm", [input_name, "w", "b"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["y"]),
    ]
    sides = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", size])
        for name, size in ((input_name, 2), ("y", 3))
    ]
    weights = [numpy_helper.from_array(W, "w"), numpy_helper.from_array(B, "b")]
    graph = helper.make_graph(nodes, "layer", [sides[0]], [sides[1]], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), file)


def write_ir(file: Path) -> None:
    write_onnx(file.with_suffix(".onnx"))
    openvino.save_model(openvino.Core().read_model(file.with_suffix(".onnx")), file, compress_to_fp16=False)
    file.with_suffix(".onnx").unlink()


FORMATS: dict[str, Callable[[Path], None]] = {
    "model.onnx": write_onnx,
    "model.xml": write_ir,
    "model.tflite": lambda file: write_tflite(file, W, B),
    "saved_model": lambda folder: write_saved_model(folder, W, B),
}


def layer(tmp_path: Path, file: str = "model.onnx", **changes: Any) -> Entry:
    outputs = [{"name": "y", "datatype": "FP32", "shape": [-1, 3]}]
    found = entry(tmp_path, {"runtime": "openvino", "outputs": outputs, **changes}, "")
    FORMATS[file](found.path / file)
    return found


def run(model: LoadedModel, rows: npt.NDArray[Any]) -> Any:
    (outcome,) = model.run([Call({"x": rows})])
    return outcome["y"] if isinstance(outcome, dict) else outcome


@pytest.mark.parametrize("file", FORMATS)
def test_each_format_gives_what_numpy_gives_for_any_number_of_rows(tmp_path: Path, file: str) -> None:
    model = load(layer(tmp_path, file), "cpu")
    for count in (1, 5, 2):
        np.testing.assert_allclose(run(model, ROWS[:count]), EXPECTED[:count], rtol=1e-5, atol=1e-6)


def test_outputs_outlive_the_next_batch(tmp_path: Path) -> None:
    model = load(layer(tmp_path), "cpu")
    first = run(model, ROWS)
    run(model, ROWS * 100)
    np.testing.assert_allclose(first, EXPECTED, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "rows",
    [np.asfortranarray(ROWS), np.repeat(ROWS, 2, axis=1)[:, ::2], np.broadcast_to(ROWS[:1], (5, 2))],
    ids=["by columns", "strided", "broadcast and read-only"],
)
def test_rows_may_lie_in_memory_in_any_way(tmp_path: Path, rows: npt.NDArray[np.float32]) -> None:
    before = rows.copy()
    np.testing.assert_allclose(
        run(load(layer(tmp_path), "cpu"), rows), np.maximum(before @ W + B, 0), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_array_equal(rows, before)


@pytest.mark.repository
def test_minilm_gives_the_embeddings_of_onnx_runtime(tmp_path: Path) -> None:
    file = Path("repository/minilm/1/model.onnx").resolve()
    tensors = {"input_ids": RANDOM.integers(5, 5000, (3, 17)), "attention_mask": np.ones((3, 17), np.int64)}
    tensors["attention_mask"][1, 9:] = 0
    (expected,) = ort.InferenceSession(str(file), providers=["CPUExecutionProvider"]).run(None, tensors)
    sides = {
        "inputs": [{"name": name, "datatype": "INT64", "shape": [-1, -1]} for name in tensors],
        "outputs": [{"name": "embedding", "datatype": "FP32", "shape": [-1, 384]}],
    }
    found = entry(tmp_path, {"runtime": "openvino", **sides}, "")
    (found.path / "model.onnx").symlink_to(file)
    (outcome,) = load(found, "cpu").run([Call(dict(tensors))])
    assert isinstance(outcome, dict)
    np.testing.assert_allclose(outcome["embedding"], expected, atol=2e-6)


def test_strings_go_in_and_out(tmp_path: Path) -> None:
    sides = {
        side: [{"name": name, "datatype": "BYTES", "shape": [-1]}] for side, name in (("inputs", "x"), ("outputs", "y"))
    }
    found = entry(tmp_path, {"runtime": "openvino", **sides}, "")
    same = openvino.opset13.parameter([-1], openvino.Type.string, name="x")
    # One tensor, which is input and output: each side picks the name that its side of the manifest has.
    same.output(0).set_names({"x", "y"})
    graph = openvino.Model([openvino.opset13.result(same)], [same], "same")
    openvino.save_model(graph, found.path / "model.xml")
    assert load(found, "cpu").run([Call({"x": ["a", "ü".encode()]})]) == [{"y": ["a", "ü"]}]


def test_full_precision_unpinned_threads_of_the_manifest_are_in_force(tmp_path: Path) -> None:
    model = load(layer(tmp_path, threads=2), "cpu")
    compiled = model.runtime.request.get_compiled_model()  # type: ignore[attr-defined]
    said = {key: compiled.get_property(key) for key in ("ENABLE_CPU_PINNING", "INFERENCE_NUM_THREADS", "NUM_STREAMS")}
    assert said == {"ENABLE_CPU_PINNING": False, "INFERENCE_NUM_THREADS": 2, "NUM_STREAMS": 1}
    assert compiled.get_property("INFERENCE_PRECISION_HINT") == openvino.Type.f32


def test_precision_and_properties_of_the_manifest_are_in_force(tmp_path: Path) -> None:
    options = {"precision": "bf16", "config": {"ENABLE_CPU_PINNING": True}}
    compiled = load(layer(tmp_path, options=options), "cpu").runtime.request.get_compiled_model()  # type: ignore[attr-defined]
    # A processor without bf16 computes in f32 all the same.
    assert compiled.get_property("INFERENCE_PRECISION_HINT") in (openvino.Type.bf16, openvino.Type.f32)
    assert compiled.get_property("ENABLE_CPU_PINNING") is True


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"precision": "fp8"}, r"options.precision 'fp8' is none of fp32, fp16, bf16"),
        ({"config": ["x"]}, "options.config must map names"),
        ({"config": {"NO_SUCH_THING": 1}}, "OpenVINO cannot load it: .*NO_SUCH_THING"),
        ({"file": "../../other/1/model.onnx"}, "leads out of the version's folder"),
        ({"file": "none.onnx"}, r"none\.onnx: no such file"),
        ({"file": 3}, "options.file must be the name of a file, not 3"),
    ],
)
def test_option_that_cannot_hold_is_a_load_error(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(LoadError, match=said):
        load(layer(tmp_path, options=options), "cpu")


def test_gpu_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"runs on the CPU only, not on 'cuda:0'; say `pools: \[cpu\]`"):
        load(layer(tmp_path), "cuda:0")


def test_graph_with_other_names_is_refused(tmp_path: Path) -> None:
    found = layer(tmp_path)
    write_onnx(found.path / "model.onnx", input_name="z")
    with pytest.raises(LoadError, match=r"declares the inputs \['x'\], the graph has \['z'\]"):
        load(found, "cpu")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([], "needs exactly one of model.xml, model.onnx, model.tflite, saved_model; has none"),
        (["model.onnx", "model.tflite"], "has model.onnx, model.tflite"),
        (["model.onnx"], "model.onnx: OpenVINO cannot load it: Unable to read the model"),
        (["model.xml"], "model.xml: OpenVINO cannot load it"),
    ],
)
def test_missing_doubled_or_broken_file_is_named(tmp_path: Path, files: list[str], said: str) -> None:
    found = entry(tmp_path, {"runtime": "openvino"}, "")
    for name in files:
        (found.path / name).write_bytes(b"nothing")
    with pytest.raises(LoadError) as caught:
        load(found, "cpu")
    assert said in caught.value.detail


def test_other_formats_are_refused_even_where_asked_for(tmp_path: Path) -> None:
    found = entry(tmp_path, {"runtime": "openvino", "options": {"file": "model.pt"}}, "")
    (found.path / "model.pt").write_bytes(b"\x80\x04.")
    with pytest.raises(LoadError, match=r"reads \.xml, \.onnx, \.tflite and SavedModel folders"):
        load(found, "cpu")


def test_folder_without_a_saved_model_is_named(tmp_path: Path) -> None:
    found = entry(tmp_path, {"runtime": "openvino"}, "")
    (found.path / "saved_model").mkdir()
    with pytest.raises(LoadError, match=r"holds no saved_model\.pb"):
        load(found, "cpu")


def test_batch_of_a_wrong_shape_fails_in_few_words(tmp_path: Path) -> None:
    handler = "def preprocess(inputs, parameters): return {'x': inputs['x'][:, :1]}"
    found = layer(tmp_path)
    (found.path / "handler.py").write_text(handler)
    outcome = run(load(found, "cpu"), ROWS)
    assert isinstance(outcome, ModelError)
    assert "incompatible" in outcome.detail
    assert ".cpp" not in outcome.detail


def test_input_that_the_graph_lacks_is_named(tmp_path: Path) -> None:
    found = layer(tmp_path)
    (found.path / "handler.py").write_text("def preprocess(inputs, parameters): return {'q': inputs['x']}")
    outcome = run(load(found, "cpu"), ROWS)
    assert isinstance(outcome, ModelError)
    assert "has no input 'q', only ['x']" in outcome.detail


def test_nothing_is_told_to_openvinos_makers() -> None:
    code = "import models.runtimes.openvino_, sys; print(sys.modules['openvino_telemetry'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "None\n"
