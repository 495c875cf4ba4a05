"""The models and jobs that are measured."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from bench import models, repository, workloads
from bench.ceiling import measure
from bench.plain.models import load
from bench.processes import ROOT
from bench.repository import Way
from bench.workloads import WORKLOADS
from models.catalog import Catalog


@pytest.fixture(scope="module")
def cnn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return repository.build(tmp_path_factory.mktemp("m") / "models", "cnn")


def test_network_is_the_same_each_time_and_valid() -> None:
    first, second = models.network(), models.network()
    onnx.checker.check_model(first)
    assert first.SerializeToString() == second.SerializeToString()
    weights = sum(int(np.prod(tensor.dims)) for tensor in first.graph.initializer)
    assert 11.6e6 < weights < 11.8e6


def test_pictures_are_told_apart_by_numbers_that_are_finite(cnn: Path, tmp_path: Path) -> None:
    written = json.loads(workloads.prepare(WORKLOADS["cnn"], cnn, tmp_path / "cnn.json").read_text())
    answers = np.array(written["expected"])
    assert answers.shape == (16, 1000)
    assert np.isfinite(answers).all()
    apart = np.abs(answers[0] - answers[1]).max()
    assert apart > 10 * WORKLOADS["cnn"].tolerance
    assert all(len(json.dumps(inputs)) < 64 * 1024 for inputs in written["inputs"])


def test_model_by_hand_gives_what_penstock_gives(cnn: Path, tmp_path: Path) -> None:
    written = json.loads(workloads.prepare(WORKLOADS["cnn"], cnn, tmp_path / "cnn.json").read_text())
    rows = workloads.rows_of(WORKLOADS["cnn"], cnn)[:2]
    found = load("cnn", cnn / "cnn" / "1").predict(rows)
    assert np.abs(found - np.array(written["expected"][:2])).max() < WORKLOADS["cnn"].tolerance


def test_farm_runs_the_way_that_was_chosen(tmp_path: Path) -> None:
    folder = repository.build(tmp_path / "models", "echo")
    assert repository.shipped(folder, "echo") == Way(1, 1, 64)
    repository.tune(folder, "echo", Way(2, 3, 5))
    manifest = Catalog.load(folder).get("echo").manifest
    assert (manifest.instances, manifest.threads, manifest.batching.max_items) == (2, 3, 5)
    assert manifest.limits.queue == repository.QUEUE


def test_shipped_example_stays_as_it_is(tmp_path: Path) -> None:
    shipped = ROOT / "models" / "examples" / "echo" / "model.yaml"
    before = shipped.read_text()
    repository.tune(repository.build(tmp_path / "models", "echo"), "echo", Way(2, 3, 5))
    assert shipped.read_text() == before


def test_ceiling_runs_its_processes_together(tmp_path: Path) -> None:
    folder = repository.build(tmp_path / "models", "echo")
    found = measure("echo", folder, instances=2, threads=1, batches=[1, 16], seconds=0.05)
    assert [(one.instances, one.threads, one.batch) for one in found] == [(2, 1, 1), (2, 1, 16)]
    for one in found:
        assert one.rows_per_s > 0
        assert 0 < one.p50_ms <= one.p99_ms
        assert one.cpu_ms_per_row > 0
