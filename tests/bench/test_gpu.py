"""The GPU benchmark, as far as a machine without a GPU can walk it."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import gpu, gpu_ceiling, gpu_models, gpu_table
from bench.gpu_models import Variant
from models.catalog import Catalog
from models.loading import load
from models.running import Call


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_it_says_so_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu"])
    assert gpu.main() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("torch cannot use cuda:0: ")


@pytest.mark.parametrize("variant", gpu_models.variants(["encoder"], "cpu"), ids=lambda variant: variant.name)
def test_networks_give_numbers_of_the_declared_shape_the_same_each_time(tmp_path: Path, variant: Variant) -> None:
    answers = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        gpu_models.build(folder, variant, "cpu", 4)
        model = load(Catalog.load(folder).get(variant.name), "cpu")
        model.warm_up()
        (outcome,) = model.run([Call(variant.shape.rows(2))])
        assert isinstance(outcome, dict)
        answers.append(np.asarray(outcome["embedding"]))
    assert answers[0].shape == (2, 384)
    np.testing.assert_allclose(np.linalg.norm(answers[0], axis=1), 1, atol=1e-2)
    np.testing.assert_array_equal(answers[0], answers[1])


def test_model_that_the_device_cannot_run_is_left_out_with_the_reason(tmp_path: Path) -> None:
    (variant,) = (one for one in gpu_models.variants(["cnn"], "cuda") if one.runtime == "onnx")
    gpu_models.build(tmp_path, variant, "gpu", 1)
    found = gpu_ceiling.measure(tmp_path, variant.name, "tpu", [1], 0.1)
    assert "knows the devices cpu and cuda" in found["skipped"]


def test_table_shows_the_share_of_the_best_and_what_was_left_out() -> None:
    calls = [{"batch": 1, "rows_per_s": 50.0}, {"batch": 16, "rows_per_s": 200.0}]
    farm = [{"clients": 64, "rows": 16, "rows_per_s": 190.0}]
    result = {
        "device": "Some GPU",
        "when": "2026-01-01T00:00:00+00:00",
        "versions": {"torch": "2"},
        "models": [
            {"model": "cnn-torch-fp16", "calls": calls, "best": calls[1], "farm": farm},
            {"model": "cnn-onnx-fp32", "skipped": "no driver"},
        ],
    }
    lines = gpu_table.table(result).splitlines()
    assert "| cnn-torch-fp16 | 50 (1), 200 (16) | 190 (64 × 16; 0.95) |" in lines
    assert "| cnn-onnx-fp32 | not measured: no driver | |" in lines


def test_unknown_network_is_named() -> None:
    with pytest.raises(ValueError, match="no network 'vgg'; there are cnn, encoder"):
        gpu_models.variants(["vgg"], "cpu")
