"""What is tuned, how it is measured, and which point is best; nothing here depends on how quick this machine is."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from errors import ManifestError
from models.catalog import Catalog, Entry
from tests.models.repository import PLAIN, write
from tests.models.test_runtimes import write_onnx
from workers.tuning.measuring import Fleet, jobs
from workers.tuning.points import Point, Setup, best, quantile, setups
from workers.tuning.rows import one_row
from workers.tuning.run import Plan, measure, plan
from workers.tuning.variant import variant

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = {"example": {"x": [[1, 2], [3, 4]]}}
#: Says what it was given, and ends badly on three rows or more.
HANDLER = """
import os
class Model:
    def load(self, device):
        pass

    def predict(self, batch):
        if len(batch["x"]) >= 3:
            raise ValueError(f"{len(batch['x'])} rows, threads {os.environ['OMP_NUM_THREADS']}")
        return {"y": batch["x"]}
"""


def made(root: Path, changes: dict[str, Any] | None = None, handler: str = HANDLER) -> Entry:
    write(root, PLAIN | EXAMPLE | (changes or {}), handler)
    return Catalog.load(root).get("plain")


def point(rate: float, p99_ms: float, *, instances: int = 1, batch: int = 1, reason: str = "") -> Point:
    return Point("onnx", instances, 1, batch, rate, p99_ms / 2, p99_ms, 10, reason)


def test_best_has_the_highest_rate_within_the_target() -> None:
    slow, quick, spoilt = point(100, 40, batch=8), point(50, 10), point(0, 0, reason="out of memory")
    assert best([slow, quick, spoilt], target_ms=None) == slow
    assert best([slow, quick, spoilt], target_ms=20) == quick
    assert best([slow, quick, spoilt], target_ms=1) is None
    assert best([], target_ms=None) is None


def test_of_equal_rates_the_quickest_is_best() -> None:
    many, few = point(102, 40, instances=2), point(100, 20)
    assert best([many, few], target_ms=None) == few
    assert best([many, point(90, 20)], target_ms=None) == many


@pytest.mark.parametrize(
    ("instances", "threads", "expected"),
    [
        ([], [], [(1, 1), (1, 4), (2, 2), (4, 1)]),
        ([3], [5, 6], [(3, 5), (3, 6)]),
        ([2], [], [(2, 1), (2, 2)]),
        ([], [8], [(1, 8)]),
    ],
)
def test_setups_use_the_cores_unless_told_otherwise(
    instances: list[int], threads: list[int], expected: list[tuple[int, int]]
) -> None:
    found = setups(["onnx", "openvino"], instances, threads, 4)
    assert [(s.instances, s.threads) for s in found] == expected * 2
    assert [s.runtime for s in found] == ["onnx"] * len(expected) + ["openvino"] * len(expected)


def test_quantiles_are_values_that_were_measured() -> None:
    assert [quantile([1, 2, 3, 4], share) for share in (0.5, 0.99, 0.0)] == [2, 4, 1]


@pytest.mark.parametrize(
    ("example", "expected"),
    [
        ({"x": [[1, 2], [3, 4]]}, {"x": [[1, 2]]}),
        ({"x": [1, 2]}, {"x": [1, 2]}),
        ({"x": {"fill": 1, "shape": [3, 2]}}, {"x": {"b64": "AACAPwAAgD8=", "shape": [1, 2]}}),
        ({"x": {"b64": "AACAPwAAgD8AAIA/AACAPw=="}}, {"x": {"b64": "AACAPwAAgD8=", "shape": [1, 2]}}),
    ],
)
def test_one_row_of_the_example_is_what_is_measured(
    tmp_path: Path, example: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert one_row(made(tmp_path, {"example": example}).manifest) == expected


def test_model_without_an_example_is_told(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="has no example"):
        one_row(made(tmp_path, {"example": None}).manifest)


def test_variant_is_the_same_model_under_another_manifest(tmp_path: Path) -> None:
    entry = made(tmp_path, {"version_policy": {"specific": [1, 2]}, "batching": {"max_wait_ms": 3}})
    with variant(entry, runtime="python", threads=7, max_items=99) as repository:
        catalog = Catalog.load(repository)
        manifest = catalog.get("plain").manifest
        assert catalog.broken == ()
        assert (manifest.threads, manifest.batching.max_items, manifest.batching.max_wait_ms) == (7, 99, 3)
    assert not repository.exists()


def test_variant_of_a_version_with_a_manifest_of_its_own(tmp_path: Path) -> None:
    own = PLAIN | {"description": "own"}
    made(tmp_path)
    (tmp_path / "plain" / "1" / "model.yaml").write_text(yaml.safe_dump(own))
    (tmp_path / "plain" / "1" / "weights").write_text("w")
    with variant(Catalog.load(tmp_path).get("plain"), runtime="python", threads=2, max_items=1) as repository:
        entry = Catalog.load(repository).get("plain")
        assert (entry.manifest.description, entry.manifest.threads) == ("own", 2)
        assert (entry.path / "weights").read_text() == "w"


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    entry = made(tmp_path / "r")
    with variant(entry, runtime="python", threads=2, max_items=8) as repository:
        fleet = Fleet(repository, entry, Setup("python", 2, 2), "cpu")
        yield fleet
        fleet.stop()


def test_every_instance_is_measured_at_once_and_a_failure_is_the_points_reason(tmp_path: Path, fleet: Fleet) -> None:
    entry = Catalog.load(tmp_path / "r").get("plain")
    items = jobs(entry, one_row(entry.manifest), 2)
    measured = fleet.measure(items, rows=2, seconds=0.05)
    assert (measured.runtime, measured.instances, measured.threads, measured.batch) == ("python", 2, 2, 2)
    assert measured.reason == ""
    assert measured.batches >= 2
    assert 0 < measured.p50_ms <= measured.p99_ms
    assert measured.rows_per_s > 0
    assert len({executor.pid for executor in fleet.executors}) == 2


def test_model_that_fails_on_its_rows_is_told_and_larger_batches_are_left_out(tmp_path: Path) -> None:
    handler = HANDLER.replace(">= 3", ">= 1 and os.path.exists(os.environ['SPOIL'])")
    mark = tmp_path / "spoil"
    os.environ["SPOIL"] = str(mark)
    try:
        entry = made(tmp_path / "r", {}, handler)
        points: list[Point] = []

        def tell(point: Point) -> None:
            points.append(point)
            mark.touch()

        setup = [Setup("python", 1, 1)]
        measure(entry, Plan(setups=setup, batches=[1, 2, 4], seconds=0.01, device="cpu"), tell)
    finally:
        del os.environ["SPOIL"]
    assert [bool(point.reason) for point in points] == [False, True, True]
    assert "ValueError: 1 rows, threads 1" in points[1].reason
    assert points[2].reason.startswith("batch 2: ")


def test_setup_that_does_not_load_is_told_and_the_others_go_on(tmp_path: Path) -> None:
    write_onnx(made(tmp_path, {"runtime": "onnx"}, "").path / "model.onnx")
    entry = Catalog.load(tmp_path).get("plain")
    found = plan(
        entry, runtimes=["onnx", "openvino"], instances=[1], threads=[1], batches=[2, 1], seconds=0.01, device="",
        target_ms=None,
    )  # fmt: skip
    points: list[Point] = []
    measure(entry, found, points.append)
    assert [(p.runtime, p.batch, p.reason) for p in points] == [
        ("onnx", 1, ""), ("onnx", 2, ""), ("openvino", 1, ""), ("openvino", 2, "")
    ]  # fmt: skip
    (entry.path / "model.onnx").write_text("nothing")
    points.clear()
    measure(entry, found, points.append)
    assert all("model.onnx" in point.reason or "Protobuf" in point.reason for point in points)
    assert len(points) == 4


def test_runtime_that_does_not_read_the_files_is_refused(tmp_path: Path) -> None:
    how: dict[str, Any] = {
        "instances": [],
        "threads": [],
        "batches": [1],
        "seconds": 1,
        "device": "",
        "target_ms": None,
    }
    with pytest.raises(ManifestError, match="runtime 'openvino' does not read the files of 'plain'"):
        plan(made(tmp_path), runtimes=["openvino"], **how)


def penstock(repository: Path, *words: str) -> "subprocess.Popen[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PENSTOCK_", "COV_"))}
    env = kept | {
        "PENSTOCK_HOME": str(ROOT),
        "PENSTOCK_MODELS": str(repository),
        "MPLCONFIGDIR": str(repository.parent),
    }
    command = [sys.executable, "-m", "penstock", "tune", "plain", "--instances", "1", "--threads", "1", *words]
    return subprocess.Popen(
        command, cwd=repository.parent, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_best_is_written_into_the_manifest_and_drawn(tmp_path: Path) -> None:
    made(tmp_path / "r", {"batching": {"max_items": 77}})
    file = tmp_path / "r" / "plain" / "model.yaml"
    file.write_text("# kept\n" + file.read_text())
    told, errors = (process := penstock(tmp_path / "r", "--batch", "1,2", "--seconds", "0.02", "--write")).communicate()
    assert process.returncode == 0, errors
    assert "written into" in told
    text = file.read_text()
    assert text.startswith("# kept\n")
    assert yaml.safe_load(text)["batching"]["max_items"] in (1, 2)
    assert (tmp_path / "plain-tune.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_target_that_nothing_meets_changes_nothing(tmp_path: Path) -> None:
    made(tmp_path / "r")
    before = (tmp_path / "r" / "plain" / "model.yaml").read_bytes()
    words = ("--batch", "1", "--seconds", "0.02", "--target-ms", "1e-6", "--write", "--no-plot")
    told, _ = (process := penstock(tmp_path / "r", *words)).communicate()
    assert process.returncode == 1
    assert "nothing meets 1e-06 ms; the quickest has a p99 of" in told
    assert (tmp_path / "r" / "plain" / "model.yaml").read_bytes() == before


def test_ctrl_c_shows_what_was_measured(tmp_path: Path) -> None:
    # The second point waits for ever, once it says so.
    mark = tmp_path / "waits"
    handler = f"""
import pathlib, time
class Model:
    def load(self, device):
        pass

    def predict(self, batch):
        if len(batch["x"]) == 2:
            pathlib.Path({str(mark)!r}).touch()
            time.sleep(3600)
        return {{"y": batch["x"]}}
"""
    made(tmp_path / "r", {"example": {"x": [1, 2]}}, handler)
    process = penstock(tmp_path / "r", "--batch", "1,2,4", "--seconds", "0.02", "--json", "--write", "--no-plot")
    deadline = time.monotonic() + 60
    while not mark.exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    below = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    told, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    answer = json.loads(told)
    assert (answer["interrupted"], [p["batch"] for p in answer["points"]], answer["written"]) == (True, [1], "")
    psutil.wait_procs(below, timeout=30)
    assert not any(child.is_running() for child in below)


def test_model_that_cannot_be_loaded_is_one_sentence(tmp_path: Path) -> None:
    made(tmp_path / "r", {}, "nonsense(")
    told, errors = (process := penstock(tmp_path / "r", "--batch", "1", "--no-plot")).communicate()
    assert (process.returncode, told) == (2, "")
    assert errors.strip().splitlines()[-1].startswith("penstock: ")
