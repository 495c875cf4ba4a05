"""What allocators say when nothing is left is known for what it is, from the libraries themselves."""

import numpy as np
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper

from errors import ModelError, OutOfMemory
from models.failures import is_out_of_memory, translate

#: Far beyond any machine: the allocation fails at once, and nothing is touched.
TOO_MUCH = 2**44


def expand(*, arena: bool) -> ort.InferenceSession:
    """A graph that fills as many floats as it is asked for."""
    graph = helper.make_graph(
        [helper.make_node("Expand", ["x", "size"], ["y"])],
        "expand",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1]),
            helper.make_tensor_value_info("size", TensorProto.INT64, [1]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = ort.SessionOptions()
    options.enable_cpu_mem_arena = arena
    options.log_severity_level = 4
    return ort.InferenceSession(model.SerializeToString(), options)


@pytest.mark.parametrize("arena", [True, False])
def test_onnx_runtime_without_memory_is_recognised(arena: bool) -> None:
    session = expand(arena=arena)
    with pytest.raises(Exception, match="alloc") as caught:
        session.run(None, {"x": np.ones(1, np.float32), "size": np.array([TOO_MUCH])})
    assert is_out_of_memory(caught.value)
    assert type(translate(caught.value, "m")) is OutOfMemory


def test_torch_without_memory_is_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(TOO_MUCH)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."))


def test_numpy_without_memory_is_recognised() -> None:
    with pytest.raises(MemoryError) as caught:
        np.empty(TOO_MUCH * 2**10)
    assert is_out_of_memory(caught.value)


def test_handler_that_speaks_of_memory_is_still_at_fault() -> None:
    error = ValueError("the word 'out of memory' is no category")
    assert not is_out_of_memory(error)
    assert type(translate(error, "m")) is ModelError
