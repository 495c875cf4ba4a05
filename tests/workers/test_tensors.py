"""Tensors between processes: what is packed is what is unpacked, and nothing is left behind."""

import gc
import os
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as arrays

from errors import InvalidInput, ModelError
from models.arrays import DTYPES, Array, Batch
from models.manifest import Manifest, Tensor
from workers import wire
from workers.given import inputs_of
from workers.tensors import INLINE_BYTES, pack, unpack

LARGE = np.arange(INLINE_BYTES, dtype=np.float32).reshape(-1, 4)


def filled(dtype: np.dtype[Any], shape: tuple[int, ...], seed: int) -> Array:
    """An array of any bits whatever, NaN among them."""
    size = int(np.prod(shape)) * dtype.itemsize
    data = np.random.default_rng(seed).integers(0, 2 if dtype.kind == "b" else 256, size, np.uint8)
    return data.view(dtype).reshape(shape)


shapes = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=24)
numbers = st.builds(filled, st.sampled_from([*DTYPES.values()]), shapes, st.integers(0, 9))
sides = st.tuples(st.integers(0, 200), st.integers(1, 200))
ragged = st.lists(st.builds(filled, st.just(np.dtype("<f4")), sides, st.integers(0, 9)), min_size=1, max_size=8)
texts = st.text() | st.binary() | st.integers(0, 9).map(lambda more: b"x" * (INLINE_BYTES + more))
batches: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.text(max_size=8), numbers | ragged | st.lists(texts, max_size=6) | st.lists(st.lists(st.text()), max_size=3)
)


def received(pipe: Connection) -> list[wire.Item]:
    """The items of a batch that has come."""
    order = wire.receive_order(pipe)
    assert isinstance(order, wire.Batch)
    return order.items


def sent(tensors: wire.Tensors) -> wire.Tensors:
    """The tensors as another process gets them."""
    ours, theirs = connected()
    with ours, theirs, ThreadPoolExecutor(1) as sender:
        # On a thread, as a message may be larger than what a socket holds.
        sender.submit(wire.send, ours, wire.Batch([wire.Item("job", 1, tensors=tensors)]))
        (item,) = received(theirs)
    assert item.tensors is not None
    return item.tensors


def connected() -> tuple[Connection, Connection]:
    return Pipe()


def open_files() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def alike(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return bool((one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes()))
    if isinstance(one, list):
        return len(one) == len(other) and all(map(alike, one, other))
    return type(one) is type(other) and bool(one == other)


@given(batches)
@settings(max_examples=200, deadline=None)
def test_what_is_packed_and_sent_is_what_is_unpacked(batch: Batch) -> None:
    got = unpack(sent(pack(batch)))
    assert list(got) == list(batch)
    assert all(alike(batch[name], got[name]) for name in batch)


def test_large_tensor_lies_in_shared_memory_and_small_one_in_the_message() -> None:
    tensors = pack({"large": LARGE, "small": LARGE[:2], "text": ["a", b"b"]})
    assert [tensor.offset for tensor in tensors.tensors] == [0, -1, -1]
    assert tensors.segment is not None
    assert tensors.segment.size == LARGE.nbytes
    assert len(msgspec.msgpack.encode([tensors.tensors])) < 200


def test_receiver_may_write_to_its_arrays_and_nobody_else_sees_it() -> None:
    tensors = pack({"x": LARGE})
    mine, other = unpack(sent(tensors)), unpack(tensors)
    mine["x"][:] = 0  # type: ignore[call-overload]
    assert alike(other["x"], LARGE)


def test_segment_cannot_be_changed_once_it_is_made() -> None:
    tensors = pack({"x": LARGE})
    assert tensors.segment is not None
    with pytest.raises(PermissionError):
        os.ftruncate(tensors.segment.fd, 0)
    with pytest.raises(PermissionError):
        os.pwrite(tensors.segment.fd, b"x", 0)


def test_descriptor_is_closed_with_the_last_reference() -> None:
    before = open_files()
    tensors = pack({"x": LARGE})
    array = unpack(sent(tensors))["x"]
    del tensors
    assert alike(array, LARGE)
    del array
    assert open_files() == before


def test_more_segments_than_one_control_message_holds_arrive_in_order() -> None:
    before = open_files()
    ours, theirs = connected()
    with ours, theirs:
        items = [wire.Item(str(n), n, tensors=pack({"x": LARGE + n})) for n in range(301)]
        wire.send(ours, wire.Batch(items))
        got = received(theirs)
    firsts = [unpack(item.tensors)["x"][0, 0] for item in got if item.tensors]  # type: ignore[call-overload]
    assert firsts == list(range(301))
    del items, got
    assert open_files() == before


def test_message_whose_reader_has_gone_leaves_no_descriptor() -> None:
    before = open_files()
    ours, theirs = connected()
    wire.send(ours, wire.Batch([wire.Item("job", 1, tensors=pack({"x": LARGE}))]))
    theirs.close()
    ours.close()
    assert open_files() == before
    assert not [path for path in Path("/dev/shm").iterdir() if "penstock" in path.name]


def test_array_of_another_type_cannot_travel() -> None:
    with pytest.raises(ModelError, match="'x': complex64 is no datatype"):
        pack({"x": np.zeros(2, np.complex64)})


def test_tensor_shorter_than_announced_is_refused() -> None:
    short = wire.Tensor("x", "FP32", (4,), 16, data=b"123")
    with pytest.raises(ValueError, match="'x' holds 3 bytes, announced are 16"):
        unpack(wire.Tensors((short,)))


MANIFEST = Manifest(
    name="m",
    runtime="python",
    inputs=(Tensor("x", "FP32", (-1, 2)), Tensor("word", "BYTES", (-1,))),
    outputs=(Tensor("y", "FP32", (-1,)),),
)


def test_tensors_that_fit_the_signature_become_inputs_in_its_datatypes() -> None:
    taken = inputs_of(MANIFEST, pack({"word": ["a", b"b"], "x": np.ones((2, 2), np.float64)}))
    assert alike(taken["x"], np.ones((2, 2), np.float32))
    assert taken["word"] == ["a", b"b"]


@pytest.mark.parametrize(
    ("batch", "reason"),
    [
        ({"x": np.ones((2, 2), np.float32)}, r"the tensors \['x'\] were given, the inputs are \['x', 'word'\]"),
        ({"x": np.ones((2, 3)), "word": ["a", "b"]}, r"#/inputs/x must be FP32 \[-1, 2\], and FP64 \[2, 3\] was given"),
        ({"x": np.ones((2, 2), np.int64), "word": ["a", "b"]}, "INT64"),
        ({"x": np.ones((2, 2)), "word": [{}, 1]}, r"#/inputs/word must be BYTES \[-1\], and JSON \[2\] was given"),
        ({"x": np.ones((2, 2)), "word": ["a"]}, "differ in rows: {'x': 2, 'word': 1}"),
        ({"x": np.full((1, 2), 1e300), "word": ["a"]}, "#/inputs/x must be finite"),
    ],
)
def test_tensors_that_do_not_fit_the_signature_are_invalid_input(batch: Batch, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        inputs_of(MANIFEST, pack(batch))
