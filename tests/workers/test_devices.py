"""Executors get a device each, and a worker without a GPU says so before it loads anything."""

from pathlib import Path

import pytest

from errors import OperatorError
from workers.devices import child_environment, devices, require_gpus, visible

A, B = "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", "MIG-7a1d5e9c-6c3d-5e4f-9b1a-0a8f4b3c2d1e"


def test_cpu_pool_has_an_executor_for_each_instance() -> None:
    assert devices("cpu", 3, 0) == ["cpu:0"] * 3


def test_gpu_pool_has_an_executor_for_each_instance_on_each_gpu() -> None:
    assert devices("gpu", 2, 2) == ["cuda:0", "cuda:0", "cuda:1", "cuda:1"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", ["0"]),
        ("2, 0", ["2", "0"]),
        (f"{A},{B}", [A, B]),
        ("GPU-89", ["GPU-89"]),
        ("MIG-GPU-8932f937/1/0", ["MIG-GPU-8932f937/1/0"]),
        ("1,-1,0", ["1"]),
        ("-1", []),
        ("", []),
        ("NoDevFiles", []),
        ("void", []),
    ],
)
def test_visible_devices_are_read_as_cuda_reads_them(value: str, expected: list[str]) -> None:
    assert visible({"CUDA_VISIBLE_DEVICES": value}) == expected


def test_gpu_that_is_named_twice_is_an_error() -> None:
    with pytest.raises(OperatorError, match="names '0' twice"):
        visible({"CUDA_VISIBLE_DEVICES": "0,1,0"})


def test_without_the_variable_the_drivers_files_are_counted(tmp_path: Path) -> None:
    for name in ("nvidia3", "nvidia5", "nvidiactl"):
        (tmp_path / name).touch()
    assert visible({}, (str(tmp_path / "nvidia[0-9]*"),)) == ["0", "1"]


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "there is no /dev/nvidia0: is the driver installed"),
        ({"CUDA_VISIBLE_DEVICES": ""}, "CUDA_VISIBLE_DEVICES is '', which hides every GPU"),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, "CUDA_VISIBLE_DEVICES is '-1', which hides every GPU"),
    ],
)
def test_gpu_pool_without_a_gpu_says_why(tmp_path: Path, environment: dict[str, str], said: str) -> None:
    with pytest.raises(OperatorError) as caught:
        require_gpus(environment, (str(tmp_path / "nvidia*"),))
    assert said in caught.value.detail


@pytest.mark.parametrize(
    ("device", "expected"), [("cuda:0", A), ("cuda:1", B), ("cpu:0", "")], ids=["a GPU", "a slice of one", "none"]
)
def test_child_sees_its_own_device_alone(device: str, expected: str) -> None:
    made = child_environment(device, 3, {"CUDA_VISIBLE_DEVICES": f"{A},{B}", "HOME": "/x", "OMP_NUM_THREADS": "64"})
    assert made["CUDA_VISIBLE_DEVICES"] == expected
    assert made["OMP_NUM_THREADS"] == made["MKL_NUM_THREADS"] == "3"
    assert made["HOME"] == "/x"


def test_child_of_a_worker_that_may_use_every_gpu_gets_its_number() -> None:
    assert child_environment("cuda:1", 1, {})["CUDA_VISIBLE_DEVICES"] == "1"


def test_executor_does_not_get_what_opens_the_farm() -> None:
    secrets = ("BROKER_URL", "REDIS_URL", "OBJECTS_URL", "SIGNING_KEY")
    own = {f"PENSTOCK_{name}{end}": "x" for name in secrets for end in ("", "_FILE")} | {"PENSTOCK_LOG_LEVEL": "debug"}
    made = child_environment("cpu:0", 1, own)
    assert [name for name in made if name.startswith("PENSTOCK_")] == ["PENSTOCK_LOG_LEVEL"]
