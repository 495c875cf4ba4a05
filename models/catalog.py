"""The model repository on disk: which models there are, in which versions, and which are broken.

    <repository>/<name>/model.yaml
    <repository>/<name>/<version>/...

A version is a folder named by a positive integer or a simple name (letters, digits, `_` and `-`; no
dot, since it stands in a queue's name). Folders that begin with `.` or `_` are no models and no
versions. Light: the gateway imports this.
"""

import difflib
import logging
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from errors import ManifestError, OperatorError, UnknownModel
from models.manifest import Manifest
from models.reading import read

log = logging.getLogger(__name__)

VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")


class Entry(msgspec.Struct, frozen=True):
    """One version of one model."""

    manifest: Manifest
    version: str
    #: The version's folder; the model's own is its parent.
    path: Path


class Broken(msgspec.Struct, frozen=True):
    """A model folder, or a version folder, that cannot be served, and why."""

    name: str
    path: Path
    reason: str


class Catalog:
    """The models of one repository, as they were when it was loaded."""

    def __init__(self, models: Mapping[str, tuple[Entry, ...]], broken: tuple[Broken, ...] = ()) -> None:
        #: Every version by model name, oldest first.
        self.models = dict(models)
        self.broken = broken

    @classmethod
    def load(cls, path: Path) -> "Catalog":
        """Read every manifest; a broken one is logged and kept in `broken`. Raises OperatorError without a folder."""
        if not path.is_dir():
            raise OperatorError(f"no model repository at {path}; `make models` builds the example models there")
        models: dict[str, tuple[Entry, ...]] = {}
        broken: list[Broken] = []
        for folder in subfolders(path):
            try:
                entries, refused = versions(folder)
            except ManifestError as error:
                entries, refused = (), [Broken(folder.name, folder, error.detail)]
            if entries:
                models[folder.name] = entries
            broken += refused
        for item in broken:
            log.error("model is broken", extra={"model": item.name, "path": str(item.path), "reason": item.reason})
        return cls(models, tuple(broken))

    def entries(self) -> list[Entry]:
        """The newest version of each model: what is served."""
        return [versions[-1] for versions in self.models.values()]

    def get(self, name: str, version: str | None = None) -> Entry:
        """One version of a model, the newest where `version` is None; raises UnknownModel."""
        try:
            entries = self.models[name]
        except KeyError as error:
            raise UnknownModel(f"no model {name[:80]!r}{self.suggestion(name)}") from error
        if version is None:
            return entries[-1]
        for entry in entries:
            if entry.version == version:
                return entry
        known = ", ".join(entry.version for entry in entries)
        raise UnknownModel(f"model {name!r} has no version {version[:80]!r}; it has {known}")

    def suggestion(self, name: str) -> str:
        for item in self.broken:
            if item.name == name:
                return "; its folder is there but its manifest is broken"
        near = difflib.get_close_matches(name[:80], self.models, n=3, cutoff=0.4)
        if near:
            return f"; did you mean {' or '.join(near)}?"
        return f"; known are {', '.join(sorted(self.models))}" if self.models else "; the repository is empty"


def versions(folder: Path) -> tuple[tuple[Entry, ...], list[Broken]]:
    """A model's versions, oldest first, and the folders that cannot be one; raises ManifestError."""
    manifest = read(folder)
    found, refused = [], []
    for path in subfolders(folder):
        if VERSION.fullmatch(path.name):
            found.append(Entry(manifest, path.name, path))
        else:
            refused.append(Broken(folder.name, path, f"{path}: a version's name must match {VERSION.pattern}"))
    if not found:
        raise ManifestError(f"{folder}: no version folder, e.g. {folder / '1'}")
    return tuple(sorted(found, key=lambda entry: age(entry.version))), refused


def age(version: str) -> tuple[bool, int, str]:
    """Sort key, newest last: names before numbers, numbers by value."""
    return (True, int(version), version) if version.isdigit() else (False, 0, version)


def subfolders(path: Path) -> list[Path]:
    return sorted(sub for sub in path.iterdir() if sub.is_dir() and sub.name[0] not in "._")
