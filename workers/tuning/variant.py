"""A model under another manifest: a repository of its own that leads to the same files."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from models.catalog import Entry
from models.reading import FILE


@contextmanager
def variant(entry: Entry, *, runtime: str, threads: int, max_items: int) -> Iterator[Path]:
    """A repository with this one version of the model; it is gone afterwards."""
    own = entry.path / FILE
    content = yaml.safe_load((own if own.is_file() else entry.path.parent / FILE).read_bytes())
    content |= {"runtime": runtime, "threads": threads}
    content["batching"] = (content.get("batching") or {}) | {"max_items": max_items}
    content.pop("version_policy", None)
    with tempfile.TemporaryDirectory(prefix="penstock-tune-") as name:
        build(entry, content, Path(name) / entry.manifest.name)
        yield Path(name)


def build(entry: Entry, content: dict[str, Any], folder: Path) -> None:
    folder.mkdir()
    (folder / FILE).write_text(yaml.safe_dump(content))
    for path in entry.path.parent.iterdir():
        if (path.is_file() and path.name != FILE) or path.name.startswith("_"):
            (folder / path.name).symlink_to(path.resolve())
    if (entry.path / FILE).is_file():
        # The version's own manifest would count, so the folder itself cannot be lent.
        shutil.copytree(entry.path, folder / entry.version, ignore=shutil.ignore_patterns(FILE), copy_function=link)
    else:
        (folder / entry.version).symlink_to(entry.path.resolve())


def link(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target
