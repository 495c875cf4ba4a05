"""The way that batches take to a GPU, walked on the CPU: staged inputs, bound to the session."""

import ctypes
import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from models.runtimes.onnx_ import OnnxRuntime, open_session
from models.runtimes.pinned import SMALLEST, HostMemory, PinnedMemory, Staging
from tests.models.test_runtimes import write_onnx


class Counting(HostMemory):
    """Ordinary memory that remembers what was asked of it."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.freed: list[int] = []

    def allocate(self, size: int) -> Any:
        self.sizes.append(size)
        return super().allocate(size)

    def free(self, buffer: Any) -> None:
        self.freed.append(buffer.nbytes)


@pytest.fixture
def memory() -> Counting:
    return Counting()


@pytest.fixture
def runtime(tmp_path: Path, memory: Counting) -> OnnxRuntime:
    write_onnx(tmp_path / "model.onnx")
    return OnnxRuntime(open_session(tmp_path / "model.onnx", "cpu"), staging=Staging(memory))


def test_bound_batches_give_what_unbound_ones_give(runtime: OnnxRuntime) -> None:
    for count in (1, 7, 3):
        rows = np.arange(2 * count, dtype=np.float32).reshape(count, 2)
        made = runtime.predict({"x": rows})["y"]
        np.testing.assert_array_equal(made, rows * 2)


def test_outputs_of_a_bound_batch_outlive_the_next(runtime: OnnxRuntime) -> None:
    first = runtime.predict({"x": np.ones((3, 2), np.float32)})["y"]
    runtime.predict({"x": np.full((3, 2), 9, np.float32)})
    np.testing.assert_array_equal(first, np.full((3, 2), 2, np.float32))


def test_rows_in_any_order_of_memory_are_staged_as_they_read(runtime: OnnxRuntime) -> None:
    rows = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(3, 2))
    np.testing.assert_array_equal(runtime.predict({"x": rows})["y"], rows * 2)


def test_buffer_is_kept_until_a_batch_outgrows_it(runtime: OnnxRuntime, memory: Counting) -> None:
    most = SMALLEST // 8
    for count in (1, most, 5, most + 1, 2):
        runtime.predict({"x": np.zeros((count, 2), np.float32)})
    assert memory.sizes == [SMALLEST, 2 * SMALLEST]
    assert memory.freed == [SMALLEST]


def test_batch_without_rows_can_be_staged() -> None:
    assert Staging(HostMemory()).place("x", np.zeros((0, 2), np.float32)).shape == (0, 2)


def test_strings_go_unbound(tmp_path: Path, memory: Counting) -> None:
    sides = [helper.make_tensor_value_info(name, TensorProto.STRING, ["rows"]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "same", [sides[0]], [sides[1]])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "model.onnx")
    runtime = OnnxRuntime(open_session(tmp_path / "model.onnx", "cpu"), staging=Staging(memory))
    assert runtime.predict({"x": ["a", "ü"]}) == {"y": ["a", "ü"]}
    assert memory.sizes == []


def test_memory_is_given_back_after_each_batch_where_asked_for(tmp_path: Path) -> None:
    write_onnx(tmp_path / "model.onnx")
    runtime = OnnxRuntime(open_session(tmp_path / "model.onnx", "cpu"), shrink="cpu:0")
    for _ in range(2):
        np.testing.assert_array_equal(runtime.predict({"x": np.ones((1, 2), np.float32)})["y"], [[2, 2]])


class Driver:
    """NVIDIA's driver library, with memory of this process; `failing` names a call that answers with an error."""

    def __init__(self, failing: str = "") -> None:
        self.failing = failing
        self.held: dict[int, Any] = {}

    def __getattr__(self, call: str) -> Any:
        def answer(*arguments: Any) -> int:
            if call == self.failing:
                return 2
            if call == "cuMemHostAlloc":
                block = ctypes.create_string_buffer(arguments[1].value)
                arguments[0]._obj.value = ctypes.addressof(block)
                self.held[ctypes.addressof(block)] = block
            if call == "cuMemFreeHost":
                del self.held[arguments[0].value]
            return 0

        return answer


def test_pinned_memory_comes_from_the_driver_and_goes_back_to_it() -> None:
    driver = Driver()
    memory = PinnedMemory(0, driver)
    buffer = memory.allocate(100)
    assert list(driver.held) == [buffer.ctypes.data]
    buffer[:] = 7
    assert driver.held[buffer.ctypes.data].raw == b"\x07" * 100
    memory.free(buffer)
    assert not driver.held


@pytest.mark.parametrize("call", ["cuInit", "cuDevicePrimaryCtxRetain", "cuCtxSetCurrent", "cuMemHostAlloc"])
def test_driver_that_gives_no_pinned_memory_leaves_ordinary_memory(call: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    driver = Driver(failing=call)
    memory = PinnedMemory(0, driver)
    placed = Staging(memory).place("x", np.arange(5))
    assert placed.tolist() == [0, 1, 2, 3, 4]
    memory.free(placed)
    assert not driver.held
    assert [record.__dict__["call"] for record in caplog.records] == [call]
