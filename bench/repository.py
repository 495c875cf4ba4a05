"""The model repository of one measurement: one model, set as the ceiling's search found best."""

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from bench import models as networks
from bench import tables
from bench.processes import ROOT
from models.catalog import Catalog

#: Jobs of one lane that may wait: `jobs:batch` is measured while the worker falls behind.
QUEUE = 1_000_000


class Way(NamedTuple):
    """How a model is run: what `penstock tune` chooses."""

    instances: int
    threads: int
    batch: int


def build(folder: Path, name: str) -> Path:
    """Put the model `name` into the repository `folder`; minilm comes from the built examples (`make models`)."""
    target = folder / name
    own = ROOT / "bench" / name
    if own.is_dir():
        shutil.copytree(own, target)
        (target / "1").mkdir()
        (tables.write_mlp if name == "mlp" else networks.write)(target / "1" / "model.onnx")
    elif name == "echo":
        shutil.copytree(ROOT / "models" / "examples" / "echo", target)
        (target / "1").mkdir()
    else:
        shutil.copytree(ROOT / "repository" / name, target)
    change(target / "model.yaml", limits={"queue": QUEUE})
    return folder


def shipped(folder: Path, name: str) -> Way:
    """How the manifest says that the model is run."""
    manifest = Catalog.load(folder).get(name).manifest
    return Way(manifest.instances, manifest.threads, manifest.batching.max_items)


def tune(folder: Path, name: str, way: Way) -> None:
    """Set how the model is run."""
    file = folder / name / "model.yaml"
    batching: dict[str, Any] = yaml.safe_load(file.read_text()).get("batching", {})
    change(file, instances=way.instances, threads=way.threads, batching={**batching, "max_items": way.batch})


def change(file: Path, **keys: object) -> None:
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), **keys}, sort_keys=False))
