"""Executors as the worker sees them: real processes that run real models."""

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import psutil
import pytest

from errors import LoadError
from tasks.message import VERSION, Message
from tests.farm import repository
from workers import wire
from workers.executor import Executor, ExecutorDied
from workers.memory import MIB, tree_bytes
from workers.tensors import INLINE_BYTES, pack, unpack

LARGE = np.arange(INLINE_BYTES, dtype=np.float32).reshape(-1, 16)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return repository.build(tmp_path_factory.mktemp("repository"))


def started(models: Path, model: str) -> Executor:
    executor = Executor(wire.Spec(str(models), model, "1", "cpu:0", (models.parent / "objects").as_uri()), threads=1)
    executor.load()
    return executor


@pytest.fixture
def echo(models: Path) -> Iterator[Executor]:
    executor = started(models, "echo")
    yield executor
    executor.kill()


def open_files() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def shared_maps(process: psutil.Process) -> int:
    return sum("memfd:penstock" in mapping.path for mapping in process.memory_maps(grouped=False))


def message(model: str, inputs: bytes) -> bytes:
    return Message(v=VERSION, id="job_1", model=model, version="1", inputs=msgspec.Raw(inputs)).encode()


def test_step_on_tensors_shares_a_batch_with_an_ordinary_job(echo: Executor) -> None:
    x = list(range(16))
    body = message("echo", b'{"x": %s}' % str(x).encode())
    items = [
        wire.Item("job_1", 1, body),
        wire.Item("step", 1, tensors=pack({"x": LARGE}), raw=True),
        wire.Item("wrong", 1, tensors=pack({"x": LARGE[:, :3]}), raw=True),
        wire.Item("job_2", 1, body, raw=True),
    ]
    job, step, wrong, raw = echo.run(items, timeout_s=30).results
    assert job.outputs == b'{"y":[[%s]]}' % b",".join(b"%.1f" % n for n in x)
    assert step.tensors is not None
    assert np.array_equal(unpack(step.tensors)["y"], LARGE)
    assert step.tensors.segment is not None
    assert b"FP32 [4096, 3] was given" in wrong.error
    assert raw.tensors is not None
    assert np.array_equal(unpack(raw.tensors)["y"], [x])


def test_executor_keeps_no_memory_of_what_it_was_sent(echo: Executor) -> None:
    child = psutil.Process(echo.pid)
    tensors = pack({"x": LARGE})
    echo.run([wire.Item("step", 1, tensors=tensors, raw=True)], timeout_s=30)
    before = shared_maps(child), child.num_fds()
    for _ in range(3):
        echo.run([wire.Item("step", 1, tensors=tensors, raw=True)] * 20, timeout_s=30)
    echo.run([wire.Item("step", 1, tensors=tensors, raw=True)], timeout_s=30)
    assert (shared_maps(child), child.num_fds()) == before


def test_model_larger_than_its_limit_is_not_ready(models: Path) -> None:
    spec = wire.Spec(str(models), "echo", "1", "cpu:0", (models.parent / "objects").as_uri())
    executor = Executor(spec, threads=1, memory_mb=10)
    with pytest.raises(LoadError, match=r"it took \d+ MiB of memory, and limits.memory_mb is 10"):
        executor.load()
    executor.kill()


def test_memory_of_a_process_is_that_of_its_whole_tree() -> None:
    hold = "data = b'x' * (50 << 20); print(flush=True); input()"
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hold!r}])"
    with subprocess.Popen([sys.executable, "-c", nested], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as tree:
        assert tree.stdin is not None
        assert tree.stdout is not None
        tree.stdout.readline()
        assert 60 * MIB < tree_bytes(tree.pid) < 100 * MIB
        tree.stdin.write(b"\n")
    assert tree_bytes(tree.pid) == 0


def test_executor_killed_in_mid_batch_leaves_no_shared_memory(models: Path, tmp_path: Path) -> None:
    before = open_files()
    executor = started(models, "trouble")
    begun, words = tmp_path / "begun", ["x" * INLINE_BYTES, "x"]
    items = [wire.Item("step", 1, tensors=pack({"do": [f"count {begun}", *words, "hang"]}), raw=True)] * 3

    def kill() -> None:
        while not begun.exists():
            threading.Event().wait(0.01)
        psutil.Process(executor.pid).kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(ExecutorDied, match="SIGKILL"):
        executor.run(items, timeout_s=30)
    killer.join()
    # The worker still holds what it sent, to have it run again by another executor.
    other = started(models, "trouble")
    again = wire.Item("step", 1, tensors=pack({"do": words}), raw=True)
    (result,) = other.run([again], timeout_s=30).results
    assert result.tensors is not None
    assert unpack(result.tensors)["did"] == words
    other.stop()
    del items, again, result
    assert open_files() == before
    assert not [path for path in Path("/dev/shm").iterdir() if "penstock" in path.name]


def test_executor_opens_the_object_store_before_it_says_ready(models: Path) -> None:
    executor = Executor(wire.Spec(str(models), "echo", "1", "cpu:0", "ftp://nowhere"), threads=1)
    with pytest.raises(LoadError, match="object store"):
        executor.load()
    executor.kill()
