"""A model is made ready, or the reason why not names model, file and cause."""

import sys
from pathlib import Path

import numpy as np
import pytest

from errors import LoadError
from models.loading import load
from models.running import Call
from tests.models.repository import ECHO, entry


@pytest.mark.parametrize(
    ("handler", "said"),
    [
        ("", "runtime 'python' needs a class Model in handler.py"),
        ("Model = 3", "needs a class Model"),
        (
            "class Model:\n    def load(self, device): pass",
            "needs `def predict(self, batch)`; it has no method predict",
        ),
        (ECHO.replace("self, device", "self"), "needs `def load(self, device)`; its own does not take that: too many"),
        (ECHO.replace("self, batch", "self, batch, parameters"), "does not take that: missing a required argument"),
        (ECHO.replace("def predict", "async def predict"), "needs `def predict(self, batch)`, not `async def`"),
        (ECHO + "def preprocess(inputs): pass", "must be `def preprocess(inputs, parameters)`: too many positional"),
        (ECHO + "async def postprocess(outputs, parameters): pass", "a function that is not async"),
        (ECHO + "preprocess = 3", "must be `def preprocess(inputs, parameters)`, a function"),
        ("import nowhere_to_be_found", "handler.py: ModuleNotFoundError"),
        ("def (", "handler.py: SyntaxError"),
        (ECHO.replace("pass", "1 / 0"), "model 'plain' version 1: ZeroDivisionError"),
        ("class Model:\n    def __init__(self, server): pass", "TypeError"),
    ],
)
def test_model_that_cannot_be_loaded_says_why(tmp_path: Path, handler: str, said: str) -> None:
    with pytest.raises(LoadError) as caught:
        load(entry(tmp_path, handler=handler), "cpu")
    assert said in caught.value.detail


def test_version_folders_handler_comes_before_the_models(tmp_path: Path) -> None:
    found = entry(tmp_path, handler="raise RuntimeError('the wrong one')")
    (found.path / "handler.py").write_text(ECHO)
    assert load(found, "cpu").run([Call({"x": np.ones((1, 2), np.float32)})])


def test_handler_imports_the_files_beside_it_as_they_are_now(tmp_path: Path) -> None:
    handler = "from .steps import factor\n" + ECHO.replace('batch["x"]', 'batch["x"] * factor')
    found = entry(tmp_path, handler=handler)
    for factor in (2, 30):
        (found.path.parent / "steps.py").write_text(f"factor = {factor}\n")
        (outcome,) = load(found, "cpu").run([Call({"x": np.ones((1, 2), np.float32)})])
        assert outcome["y"].tolist() == [[factor, factor]]  # type: ignore[index, union-attr]
    del sys.modules["penstock_handler_plain_1"]


def test_classes_get_folder_and_manifest_by_name(tmp_path: Path) -> None:
    handler = ECHO.replace(
        "def load", "def __init__(self, manifest, folder): self.told = (manifest.name, folder.name)\n    def load"
    )
    model = load(entry(tmp_path, handler=handler), "cpu")
    assert model.runtime.told == ("plain", "1")  # type: ignore[attr-defined]


def test_warm_up_runs_the_example(tmp_path: Path) -> None:
    handler = ECHO + "        # never reached\n"
    load(entry(tmp_path, {"example": {"x": [[1, 2]]}}, handler), "cpu").warm_up()


def test_warm_up_of_a_model_that_fails_its_example_is_a_load_error(tmp_path: Path) -> None:
    handler = ECHO.replace('{"y": batch["x"]}', '{"y": batch["z"]}')
    model = load(entry(tmp_path, {"example": {"x": [[1, 2]]}}, handler), "cpu")
    with pytest.raises(LoadError, match="its example fails: KeyError: 'z'"):
        model.warm_up()
