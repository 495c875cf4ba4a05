"""What stands in a model repository is served, refused with a reason, or named."""

import logging
from pathlib import Path
from typing import Any

import pytest

from errors import OperatorError, UnknownModel
from models.catalog import Catalog
from tests.models.repository import PLAIN, write


def reason(root: Path, manifest: dict[str, Any] | str) -> str:
    """Why the only model of a repository is broken."""
    write(root, manifest)
    (broken,) = Catalog.load(root).broken
    return broken.reason


def changed(**changes: Any) -> dict[str, Any]:
    return PLAIN | changes


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        ("inputs: [", "model.yaml: not YAML"),
        ("- a list", "must be a mapping"),
        ("name: plain", "missing required field `inputs`"),
        (changed(colour="red"), "unknown field `colour`"),
        (changed(batching={"max_item": 3}), "batching: Object contains unknown field `max_item`"),
        (changed(batching={"max_items": 0}), "batching.max_items: Expected `int` >= 1"),
        (
            changed(batching={"weight": {"input": "z", "unit": "elements"}}),
            "batching.weight.input: 'z' is none of the inputs x",
        ),
        (
            changed(batching={"weight": {"input": "x", "unit": "pixels"}}),
            "batching.weight.unit: 'pixels' does not fit FP32; use elements",
        ),
        (changed(batching={"weight": {"input": "x", "unit": "tokens"}}), "batching.weight.unit: Invalid enum value"),
        (changed(limits={"timeout_s": "soon"}), "limits.timeout_s: Expected `float`, got `str`"),
        (changed(name="other"), "name: 'other' must equal the folder's name, 'plain'"),
        (changed(name="my.model"), "name: 'my.model' must match"),
        (changed(runtime="tensorflow"), "runtime: 'tensorflow' is unknown; known are onnx, "),
        (changed(runtime=""), "runtime: missing; known are onnx, "),
        (changed(pools=["cpu.big"]), "pools: 'cpu.big' must match"),
        (changed(inputs=[]), "inputs: Expected `array` of length >= 1"),
        (changed(inputs=[{"name": "x", "datatype": "FLOAT", "shape": [-1]}]), "inputs[0].datatype: 'FLOAT' is none of"),
        (changed(inputs=[{"name": "x", "datatype": "JSON", "shape": [-1]}]), "inputs[0].datatype: 'JSON' is none of"),
        (changed(inputs=[{"name": "x", "datatype": "FP32", "shape": [-1, 0]}]), "inputs[0].shape: [-1, 0] may hold"),
        (changed(inputs=[{"name": "x", "datatype": "FP32", "shape": [-1] * 9}]), "inputs[0].shape: has 9 axes"),
        (
            changed(outputs=[{"name": "y", "datatype": "FP64", "shape": [-1, 2**20, 2**20]}]),
            "outputs[0].shape: [-1, 1048576, 1048576] takes more than 2147483648 bytes",
        ),
        (
            changed(outputs=[{"name": "y", "datatype": "JSON", "shape": [-1, 2]}]),
            "outputs[0].shape: [-1, 2] must have one",
        ),
        (changed(inputs=PLAIN["inputs"] * 2), "inputs[1].name: 'x' is declared twice"),
        (
            changed(inputs=[{"name": "x", "datatype": "FP32", "shape": [2]}]),
            "batching.max_items: above 1 needs shapes that all begin with -1",
        ),
        (changed(example={"x": [[1, "two"]]}), "example/x/0/1: must be a number, not a string"),
    ],
)
def test_broken_manifest_is_refused_by_file_key_and_reason(tmp_path: Path, manifest: Any, said: str) -> None:
    found = reason(tmp_path, manifest)
    assert found.startswith(str(tmp_path / "plain" / "model.yaml"))
    assert said in found


def test_a_broken_model_is_logged_and_stops_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, PLAIN)
    write(tmp_path, "name: [", name="bad")
    with caplog.at_level(logging.ERROR):
        catalog = Catalog.load(tmp_path)
    assert [entry.manifest.name for entry in catalog.entries()] == ["plain"]
    assert [broken.name for broken in catalog.broken] == ["bad"]
    assert caplog.records[0].__dict__["model"] == "bad"


def test_newest_version_is_the_highest_number_before_any_name(tmp_path: Path) -> None:
    write(tmp_path, PLAIN)
    for version in ("2", "10", "trial"):
        (tmp_path / "plain" / version).mkdir()
    catalog = Catalog.load(tmp_path)
    assert catalog.get("plain").version == "10"
    assert catalog.get("plain", "trial").path == tmp_path / "plain" / "trial"


def test_version_with_a_dot_is_refused_and_the_others_serve(tmp_path: Path) -> None:
    write(tmp_path, PLAIN)
    (tmp_path / "plain" / "1.5").mkdir()
    catalog = Catalog.load(tmp_path)
    assert catalog.get("plain").version == "1"
    assert "a version's name must match" in catalog.broken[0].reason


def test_model_without_a_version_is_broken(tmp_path: Path) -> None:
    write(tmp_path, PLAIN).rmdir()
    assert "no version folder" in Catalog.load(tmp_path).broken[0].reason


def test_hidden_folders_are_no_models(tmp_path: Path) -> None:
    (tmp_path / ".plain.new").mkdir()
    (tmp_path / "__pycache__").mkdir()
    catalog = Catalog.load(tmp_path)
    assert catalog.entries() == []
    assert catalog.broken == ()


def test_unknown_model_names_the_nearest(tmp_path: Path) -> None:
    write(tmp_path, PLAIN)
    catalog = Catalog.load(tmp_path)
    with pytest.raises(UnknownModel, match=r"no model 'plane'; did you mean plain\?"):
        catalog.get("plane")
    with pytest.raises(UnknownModel, match="no version '7'; it has 1"):
        catalog.get("plain", "7")


def test_unknown_model_that_is_broken_says_so(tmp_path: Path) -> None:
    write(tmp_path, "name: [")
    with pytest.raises(UnknownModel, match="its manifest is broken"):
        Catalog.load(tmp_path).get("plain")


def test_missing_repository_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="`make models`"):
        Catalog.load(tmp_path / "nowhere")
