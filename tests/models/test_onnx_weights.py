"""Weights that sessions share: one file that all of them map, and a model that runs without where there is none."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from models import cache
from models.runtimes import onnx_weights
from models.runtimes.onnx_ import open_session
from tests.models.layers import WIDTH, graph

#: Of weights in the graph.
WEIGHTS_MIB = 16


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Path]:
    cache.keep_in(tmp_path / "cache")
    yield tmp_path / "cache"
    cache._folder = None


def run(file: Path) -> bytes:
    x = np.linspace(-1, 1, 3 * WIDTH, dtype=np.float32).reshape(3, WIDTH)
    (y,) = open_session(file, "cpu").run(None, {"x": x})
    return bytes(y.tobytes())


def places(kept: Path) -> list[Path]:
    return sorted(path.parent for path in kept.rglob("model.onnx"))


def test_result_is_the_same_with_shared_weights(tmp_path: Path, kept: Path) -> None:
    file = graph(tmp_path / "m")
    shared = run(file)
    assert len(places(kept)) == 1
    cache._folder = None
    assert run(file) == shared


def test_sessions_of_several_processes_hold_the_weights_once(tmp_path: Path, kept: Path) -> None:
    file = graph(tmp_path / "m")
    run(file)
    code = f"""
import sys, pathlib, numpy as np
from models import cache
from models.runtimes.onnx_ import open_session
cache.keep_in(pathlib.Path({str(kept)!r}))
session = open_session(pathlib.Path({str(file)!r}), "cpu")
session.run(None, {{"x": np.ones((3, {WIDTH}), np.float32)}})
print(flush=True)
sys.stdin.read()
"""
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    maps = [weights_of(process.pid) for process in processes]
    for process in processes:
        process.communicate()
    assert all(resident >= WEIGHTS_MIB for resident, _ in maps)
    assert sum(proportional for _, proportional in maps) < 1.5 * WEIGHTS_MIB


def weights_of(pid: int) -> tuple[float, float]:
    """Resident and proportional MiB of the mapped file of weights."""
    totals = {"Rss:": 0.0, "Pss:": 0.0}
    inside = False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        first, *rest = line.split()
        if not first.endswith(":"):
            inside = line.endswith("/weights")
        elif inside and first in totals:
            totals[first] += int(rest[0]) / 1024
    return totals["Rss:"], totals["Pss:"]


def test_other_content_is_made_ready_anew_and_the_old_one_forgotten(tmp_path: Path, kept: Path) -> None:
    file = graph(tmp_path / "m")
    first = run(file)
    (place,) = places(kept)
    graph(tmp_path / "m", seed=1)
    assert run(file) != first
    (other,) = places(kept)
    assert other != place


def test_model_runs_without_where_the_folder_cannot_be_written(tmp_path: Path, kept: Path) -> None:
    file = graph(tmp_path / "m")
    kept.touch()
    assert len(run(file)) == 3 * WIDTH * 4


def test_model_runs_without_where_its_file_is_cut_short(tmp_path: Path, kept: Path) -> None:
    file = graph(tmp_path / "m")
    whole = run(file)
    (place,) = places(kept)
    (place / "weights").write_bytes(b"short")
    assert run(file) == whole
    assert places(kept) == []


def test_small_model_gets_no_file_more(tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_weights, "MIN_BYTES", 2**30)
    run(graph(tmp_path / "m"))
    assert not kept.exists()
