"""ONNX Runtime runs where the manifest says, or the load fails and says why."""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnxruntime as ort
import pytest
import torch

from errors import LoadError
from models.loading import load
from models.runtimes import onnx_providers
from models.runtimes.onnx_providers import wanted
from tests.models.repository import entry
from tests.models.test_runtimes import EXPECTED, doubled, write_onnx

CUDA = {"arena_extend_strategy": "kSameAsRequested", "cudnn_conv_algo_search": "HEURISTIC", "device_id": 0}
without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")


@pytest.mark.parametrize(
    ("options", "device", "expected"),
    [
        ({}, "cpu", [("CPU", {})]),
        ({}, "cuda:0", [("CUDA", CUDA)]),
        ({}, "cuda", [("CUDA", CUDA)]),
        ({}, "cuda:1", [("CUDA", CUDA | {"device_id": 1})]),
        ({"providers": ["CUDA", "CPU"]}, "cpu", [("CPU", {})]),
        ({"providers": ["CUDA", "CPU"]}, "cuda:0", [("CUDA", CUDA), ("CPU", {})]),
        ({"providers": ["TensorRT", "CUDA"]}, "cuda:0", [("TensorRT", {"device_id": 0}), ("CUDA", CUDA)]),
        (
            {"providers": [{"CUDA": {"gpu_mem_limit": 2**30, "arena_extend_strategy": "kNextPowerOfTwo"}}]},
            "cuda:0",
            [("CUDA", CUDA | {"gpu_mem_limit": 2**30, "arena_extend_strategy": "kNextPowerOfTwo"})],
        ),
        ({"providers": [{"OpenVINO": {"device_type": "CPU"}}]}, "cpu", [("OpenVINO", {"device_type": "CPU"})]),
    ],
)
def test_providers_follow_the_device_and_the_manifest(options: dict[str, Any], device: str, expected: Any) -> None:
    assert wanted(options, device) == expected


@pytest.mark.parametrize(
    ("options", "device", "said"),
    [
        ({"providers": ["CPU"]}, "cuda:0", r"none of options.providers, \['CPU'\], uses cuda:0: name one that does"),
        ({"providers": ["OpenVINO"]}, "cuda:0", "uses cuda:0"),
        ({"providers": ["CUDA"]}, "cpu", "uses cpu"),
        ({"providers": ["cuda"]}, "cpu", "'cuda' is none of TensorRT, CUDA, OpenVINO, CPU"),
        ({"providers": [{"CPU": {}, "CUDA": {}}]}, "cpu", "is none of TensorRT"),
        ({"providers": [{"CPU": 3}]}, "cpu", "the options of CPU must map names to values, not 3"),
        ({"providers": []}, "cpu", r"must be a list of .*, not \[\]"),
        ({"providers": "CPU"}, "cpu", "must be a list of .*, not 'CPU'"),
    ],
)
def test_providers_that_cannot_serve_the_device_are_refused(options: dict[str, Any], device: str, said: str) -> None:
    with pytest.raises(LoadError, match=said):
        wanted(options, device)


@without_gpu
@pytest.mark.parametrize("provider", ["CUDA", "TensorRT"])
def test_gpu_that_is_not_there_fails_the_load_with_the_reason(tmp_path: Path, provider: str) -> None:
    found = entry(tmp_path, {"runtime": "onnx", "options": {"providers": [provider]}}, "")
    write_onnx(found.path / "model.onnx")
    with pytest.raises(LoadError) as caught:
        load(found, "cuda:0")
    built = onnx_providers.KNOWN[provider][0] in ort.get_available_providers()
    reason = "there is no NVIDIA driver: libcuda.so.1" if built else "this ONNX Runtime was built without it"
    assert f"ONNX Runtime cannot use {provider}: {reason}" in caught.value.detail
    assert "it never falls back to the CPU by itself" in caught.value.detail


def test_provider_that_this_onnx_runtime_lacks_is_named(tmp_path: Path) -> None:
    found = entry(tmp_path, {"runtime": "onnx", "options": {"providers": ["OpenVINO", "CPU"]}}, "")
    write_onnx(found.path / "model.onnx")
    with pytest.raises(LoadError, match=r"cannot use OpenVINO: this ONNX Runtime was built without it; it has .*CPU"):
        load(found, "cpu")


def test_one_list_serves_both_pools(tmp_path: Path) -> None:
    found = entry(tmp_path, {"runtime": "onnx", "options": {"providers": ["CUDA", "CPU"]}}, "")
    write_onnx(found.path / "model.onnx")
    assert doubled(found) == EXPECTED


@dataclass
class Session:
    """What a session says that it got."""

    providers: list[str]
    nodes: dict[str, int]

    def get_providers(self) -> list[str]:
        return self.providers

    def get_provider_graph_assignment_info(self) -> list[Any]:
        return [SimpleNamespace(ep_name=name, get_nodes=lambda n=n: [None] * n) for name, n in self.nodes.items()]


BOTH = ["CUDAExecutionProvider", "CPUExecutionProvider"]


def test_session_that_computes_on_the_gpu_is_taken_also_where_small_nodes_run_on_the_cpu() -> None:
    onnx_providers.hold(Session(BOTH, dict(zip(BOTH, (40, 3), strict=True))), [("CUDA", {})])


def test_session_that_got_less_than_was_asked_for_is_refused() -> None:
    with pytest.raises(LoadError, match="cannot use CUDA: the session has CPUExecutionProvider"):
        onnx_providers.hold(Session(["CPUExecutionProvider"], {}), [("CUDA", {})])


def test_session_whose_every_node_runs_on_the_cpu_is_refused() -> None:
    with pytest.raises(LoadError, match="not one node of the graph runs there, all run on CPUExecutionProvider"):
        onnx_providers.hold(Session(BOTH, {"CPUExecutionProvider": 43}), [("CUDA", {})])


def test_real_session_tells_where_its_nodes_run(tmp_path: Path) -> None:
    found = entry(tmp_path, {"runtime": "onnx"}, "")
    write_onnx(found.path / "model.onnx")
    session = load(found, "cpu").runtime.session  # type: ignore[attr-defined]
    assert onnx_providers.nodes(session) == {"CPUExecutionProvider": 1}
