"""A model repository written for one test."""

from pathlib import Path
from typing import Any

import yaml

from models.catalog import Catalog, Entry

#: A small manifest that tests change by copy.
PLAIN: dict[str, Any] = {
    "name": "plain",
    "runtime": "python",
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
}
ECHO = """
class Model:
    def load(self, device):
        pass

    def predict(self, batch):
        return {"y": batch["x"]}
"""


def write(root: Path, manifest: dict[str, Any] | str, handler: str = "", *, name: str = "plain") -> Path:
    """A model folder with version 1; returns the version's folder."""
    folder = root / name / "1"
    folder.mkdir(parents=True)
    text = manifest if isinstance(manifest, str) else yaml.safe_dump(manifest)
    (folder.parent / "model.yaml").write_text(text)
    if handler:
        (folder.parent / "handler.py").write_text(handler)
    return folder


def entry(root: Path, changes: dict[str, Any] | None = None, handler: str = ECHO) -> Entry:
    """PLAIN with `changes` as a catalog's entry."""
    write(root, PLAIN | (changes or {}), handler)
    catalog = Catalog.load(root)
    if catalog.broken:
        raise AssertionError(catalog.broken[0].reason)
    return catalog.get("plain")
