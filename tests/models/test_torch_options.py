"""Precision, compilation, layout and transfer of the torch runtime; the ways to a GPU walked on the CPU."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from errors import LoadError
from models.catalog import Entry
from models.loading import load
from models.running import Call
from models.runtimes import torch_
from models.runtimes.torch_transfer import PinnedTransfer, Transfer
from tests.models.repository import entry

#: `y` tells what the network was given; `kept` holds the types of input and weight.
HANDLER = """
import torch
kept = []
class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(2, 2, bias=False)
    def forward(self, x):
        torch.compiler.is_compiling() or kept.append((x.dtype, self.linear.weight.dtype))
        return self.linear(x)
"""
ROWS = np.array([[1, 2], [3, 4], [5, 6]], np.float32)
WEIGHT = torch.tensor([[1.0, 0.001], [0.0, 1.0]])


def network(tmp_path: Path, options: dict[str, Any], **changes: Any) -> Entry:
    found = entry(tmp_path, {"runtime": "torch", "options": options, **changes}, HANDLER)
    save_file({"linear.weight": WEIGHT}, found.path / "model.safetensors")
    return found


def archive(tmp_path: Path, options: dict[str, Any], **changes: Any) -> Entry:
    found = entry(tmp_path, {"runtime": "torch", "options": options, **changes}, "")
    linear = torch.nn.Linear(2, 2, bias=False)
    linear.weight = torch.nn.Parameter(WEIGHT)
    rows = torch.export.Dim("rows", min=1, max=64)
    torch.export.save(
        torch.export.export(linear, (torch.ones(2, 2),), dynamic_shapes=({0: rows},)), found.path / "model.pt2"
    )
    return found


def run(found: Entry) -> Any:
    (outcome,) = load(found, "cpu").run([Call({"x": ROWS})])
    return outcome["y"] if isinstance(outcome, dict) else outcome


@pytest.mark.parametrize("make", [network, archive])
def test_full_precision_is_the_default(tmp_path: Path, make: Any) -> None:
    np.testing.assert_allclose(run(make(tmp_path, {})), ROWS @ WEIGHT.numpy().T, rtol=1e-6)


@pytest.mark.parametrize("make", [network, archive])
def test_half_precision_is_in_force_and_outputs_come_as_declared(tmp_path: Path, make: Any) -> None:
    made = run(make(tmp_path, {"precision": "bf16"}))
    assert made.dtype == np.float32
    expected = (torch.tensor(ROWS).bfloat16() @ WEIGHT.bfloat16().T).float().numpy()
    np.testing.assert_array_equal(made, expected)
    # 1.002 has no bf16: the nearest is 1.0.
    assert made[0, 0] == 1.0


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float32)])
def test_network_has_weights_and_inputs_of_the_precision_and_fp16_is_left_to_gpus(
    tmp_path: Path, precision: str, dtype: torch.dtype
) -> None:
    model = load(network(tmp_path, {"precision": precision}), "cpu")
    model.run([Call({"x": ROWS})])
    assert model.handler.module.kept == [(dtype, dtype)]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"precision": "int8"}, "options.precision 'int8' is none of fp32, fp16, bf16"),
        ({"compile": "yes"}, "options.compile must be true or a map of mode, backend, batch_sizes, not 'yes'"),
        ({"compile": {"modus": 1}}, "options.compile must be true or a map"),
        ({"compile": {"batch_sizes": [0]}}, r"batch_sizes must be a list of 1 to batching.max_items \(8\)"),
        ({"compile": {"batch_sizes": [9]}}, "batch_sizes must be a list"),
    ],
)
def test_option_that_cannot_hold_is_a_load_error(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(LoadError, match=said):
        load(network(tmp_path, options, example={"x": [[1, 2]]}), "cpu")


def test_compilation_without_an_example_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"options\.compile needs an `example`"):
        load(network(tmp_path, {"compile": True}), "cpu")


@pytest.mark.parametrize("make", [network, archive])
def test_every_batch_size_is_compiled_before_the_model_is_ready(tmp_path: Path, make: Any) -> None:
    compiled: list[tuple[int, ...]] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Any:
        compiled.append(tuple(tensor.shape[0] for tensor in inputs if isinstance(tensor, torch.Tensor)))
        return graph.forward

    torch.compiler.reset()
    model = load(make(tmp_path, {"compile": {"backend": "eager"}}, example={"x": [[1, 2]]}), "cpu")
    model.runtime.network = torch.compile(model.runtime.network._orig_mod, backend=backend, dynamic=True)  # type: ignore[attr-defined]
    model.warm_up()
    known = len(compiled)
    assert known >= 1
    for count in (1, 2, 3, 8):
        rows = np.arange(2 * count, dtype=np.float32).reshape(count, 2)
        (outcome,) = model.run([Call({"x": rows})])
        np.testing.assert_allclose(outcome["y"], rows @ WEIGHT.numpy().T, rtol=1e-6)  # type: ignore[index]
    assert len(compiled) == known


def test_pictures_reach_the_network_channel_by_channel(tmp_path: Path) -> None:
    handler = """
import torch
kept = []
class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 2, 1, bias=False)
    def forward(self, x):
        kept.extend(t.is_contiguous(memory_format=torch.channels_last) for t in (x, self.conv.weight))
        return self.conv(x)
"""
    sides = {
        side: [{"name": name, "datatype": "FP32", "shape": [-1, channels, 4, 4]}]
        for side, name, channels in (("inputs", "x", 3), ("outputs", "y", 2))
    }
    found = entry(tmp_path, {"runtime": "torch", "options": {"channels_last": True}, **sides}, handler)
    save_file({"conv.weight": torch.ones(2, 3, 1, 1)}, found.path / "model.safetensors")
    model = load(found, "cpu")
    (outcome,) = model.run([Call({"x": np.ones((2, 3, 4, 4), np.float32)})])
    np.testing.assert_array_equal(outcome["y"], np.full((2, 2, 4, 4), 3, np.float32))  # type: ignore[index]
    assert model.handler.module.kept == [True, True]  # type: ignore[union-attr]


def test_manifests_threads_are_in_force_and_operators_run_one_at_a_time(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    try:
        load(network(tmp_path, {}, threads=2), "cpu")
        assert (torch.get_num_threads(), torch.get_num_interop_threads()) == (2, 1)
    finally:
        torch.set_num_threads(before)


class Host:
    """Stands for page-locked memory and the wait for a GPU, and remembers the order."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def empty(self, shape: Any, *, dtype: torch.dtype) -> torch.Tensor:
        self.calls.append("empty")
        return torch.full(tuple(shape), 0, dtype=dtype)

    def wait(self) -> None:
        self.calls.append("wait")


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def pinned(host: Host) -> PinnedTransfer:
    return PinnedTransfer(torch.device("cpu"), empty=host.empty, wait=host.wait)


@pytest.mark.parametrize("rows", [ROWS, np.asfortranarray(ROWS), np.array([True, False]), np.zeros((0, 2), np.int64)])
def test_rows_go_through_pinned_memory_and_back_unchanged(pinned: PinnedTransfer, host: Host, rows: Any) -> None:
    tensor = pinned.put(rows)
    back = pinned.take({"a": tensor, "b": tensor})
    assert host.calls == ["empty", "empty", "empty", "wait"]
    for made in back.values():
        assert made.dtype == rows.dtype
        np.testing.assert_array_equal(made, rows)


def test_half_precision_comes_back_as_float32_either_way(pinned: PinnedTransfer) -> None:
    half = torch.tensor([1.5, -2.0], dtype=torch.bfloat16)
    for transfer in (pinned, Transfer(torch.device("cpu"))):
        made = transfer.take({"y": half})["y"]
        assert made.dtype == np.float32
        assert made.tolist() == [1.5, -2.0]


def test_network_runs_over_the_pinned_way(tmp_path: Path, pinned: PinnedTransfer, host: Host) -> None:
    model = load(network(tmp_path, {}), "cpu")
    model.runtime.transfer = pinned  # type: ignore[attr-defined]
    (outcome,) = model.run([Call({"x": ROWS})])
    np.testing.assert_allclose(outcome["y"], ROWS @ WEIGHT.numpy().T, rtol=1e-6)  # type: ignore[index]
    assert host.calls == ["empty", "empty", "wait"]


@pytest.mark.parametrize(
    ("built", "available", "count", "said"),
    [
        (None, False, 0, "is built without CUDA; install a torch that fits this GPU"),
        ("13.0", False, 0, "it finds no GPU, or no driver for CUDA 13.0"),
        ("13.0", True, 1, "it sees 1 GPUs"),
        ("13.0", True, 2, "no kernel image is available; install"),
    ],
)
def test_gpu_that_torch_cannot_use_fails_the_load_and_says_why(
    monkeypatch: pytest.MonkeyPatch, built: str | None, available: bool, count: int, said: str
) -> None:
    monkeypatch.setattr(torch.version, "cuda", built)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    def compute(device: torch.device) -> None:
        raise RuntimeError("no kernel image is available\nfor this device")

    with pytest.raises(LoadError) as caught:
        torch_.require_gpu(torch.device("cuda:1"), compute=compute)
    assert caught.value.detail.startswith("torch cannot use cuda:1: ")
    assert said in caught.value.detail


def test_gpu_that_computes_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    asked: list[torch.device] = []
    torch_.require_gpu(torch.device("cuda:0"), compute=asked.append)
    assert asked == [torch.device("cuda:0")]
