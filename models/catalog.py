"""The model repository on disk: which models there are, in which versions, and which are broken.

    <repository>/<name>/model.yaml
    <repository>/<name>/<version>/...

A version is a folder named by a positive integer or a simple name (letters, digits, `_` and `-`; no
dot, since it stands in a queue's name). It may hold a `model.yaml` of its own, in place of the model's.
Folders that begin with `.` or `_` are no models and no versions, nor are those that end in `.tmp` or
`.partial`: so a version is made under such a name and then renamed. Light: the gateway imports this.
"""

import difflib
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from errors import ManifestError, OperatorError, UnknownModel
from models import pipelines
from models.manifest import Manifest
from models.policy import by_policy
from models.reading import FILE, read, read_version

log = logging.getLogger(__name__)

VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
#: How the names of folders end that somebody still writes into.
UNFINISHED = (".tmp", ".partial")


class Entry(msgspec.Struct, frozen=True):
    """One version of one model."""

    manifest: Manifest
    version: str
    #: The version's folder; the model's own is its parent.
    path: Path
    #: The folder's inode: another one under the same name is other content.
    inode: int = 0


class Broken(msgspec.Struct, frozen=True):
    """A model folder, or a version folder, that cannot be served, and why."""

    name: str
    path: Path
    reason: str
    #: The version, where only that is broken.
    version: str = ""


class Catalog:
    """The models of one repository, as they were when it was loaded."""

    def __init__(self, models: Mapping[str, tuple[Entry, ...]], broken: tuple[Broken, ...] = ()) -> None:
        #: What was read, and what could not be: pipelines are not yet held against the models of their steps.
        self.read, self.unread = dict(models), broken
        usable, refused = without_unusable(models)
        #: Every version by model name, oldest first.
        self.models = usable
        self.broken = (*broken, *refused)

    @classmethod
    def load(cls, path: Path) -> "Catalog":
        """Read every manifest; a broken one is logged and kept in `broken`. Raises OperatorError without a folder."""
        if not path.is_dir():
            raise OperatorError(f"no model repository at {path}; `make models` builds the example models there")
        models: dict[str, tuple[Entry, ...]] = {}
        broken: list[Broken] = []
        for folder in subfolders(path):
            entries, refused = versions(folder)
            if entries:
                models[folder.name] = entries
            broken += refused
        catalog = cls(models, tuple(broken))
        for item in catalog.broken:
            tell(item)
        return catalog

    def entries(self) -> list[Entry]:
        """What is served, as far as the manifests say: the versions that each model's policy names."""
        return [entry for entries in self.models.values() for entry in by_manifest(entries)]

    def get(self, name: str, version: str | None = None) -> Entry:
        """One version of a model, the newest where `version` is None; raises UnknownModel."""
        try:
            entries = self.models[name]
        except KeyError as error:
            raise UnknownModel(f"no model {name[:80]!r}{self.suggestion(name)}") from error
        return one_of(entries, version, self.broken)

    def suggestion(self, name: str) -> str:
        for item in self.broken:
            if item.name == name:
                return "; its folder is there but its manifest is broken"
        near = difflib.get_close_matches(name[:80], self.models, n=3, cutoff=0.4)
        if near:
            return f"; did you mean {' or '.join(near)}?"
        return f"; known are {', '.join(sorted(self.models))}" if self.models else "; the repository is empty"


def one_of(entries: Sequence[Entry], version: str | None, broken: Iterable[Broken] = ()) -> Entry:
    """One of a model's versions, the newest where `version` is None; raises UnknownModel."""
    if version is None:
        return entries[-1]
    for entry in entries:
        if entry.version == version:
            return entry
    name = entries[0].manifest.name
    for item in broken:
        if (item.name, item.version) == (name, version):
            raise UnknownModel(f"version {version} of model {name!r} is broken: {item.reason}")
    known = ", ".join(entry.version for entry in entries)
    raise UnknownModel(f"model {name!r} has no version {version[:80]!r}; it has {known}")


def by_manifest(entries: tuple[Entry, ...]) -> list[Entry]:
    """Those of a model's versions that its policy names."""
    named = by_policy([entry.version for entry in entries], entries[-1].manifest.version_policy)
    return [entry for entry in entries if entry.version in named]


def without_unusable(models: Mapping[str, tuple[Entry, ...]]) -> tuple[dict[str, tuple[Entry, ...]], list[Broken]]:
    """The models less the versions of pipelines that do not fit the models of their steps, and these."""

    def find(name: str, version: str | None) -> Manifest | None:
        entries = [entry for entry in models.get(name, ()) if version in (None, entry.version)]
        return entries[-1].manifest if entries else None

    refused: dict[Path, Broken] = {}
    for entry in [entry for entries in models.values() for entry in entries if entry.manifest.kind == "pipeline"]:
        try:
            pipelines.graph(entry.manifest, entry.path, find)
        except ManifestError as error:
            refused[entry.path] = Broken(entry.manifest.name, entry.path, error.detail, entry.version)
    kept = {name: tuple(one for one in entries if one.path not in refused) for name, entries in models.items()}
    return {name: entries for name, entries in kept.items() if entries}, list(refused.values())


def versions(folder: Path) -> tuple[tuple[Entry, ...], list[Broken]]:
    """A model's versions, oldest first, and what of it cannot be served."""
    try:
        manifest = read(folder)
        found, refused = [], []
        for path in subfolders(folder):
            if not VERSION.fullmatch(path.name):
                reason = f"{path}: a version's name must match {VERSION.pattern}"
                refused.append(Broken(folder.name, path, reason, path.name))
                continue
            try:
                found.append(Entry(read_version(path, manifest), path.name, path, path.stat().st_ino))
            except ManifestError as error:
                refused.append(Broken(folder.name, path, error.detail, path.name))
        refused += missing(folder, manifest, {path.name for path in subfolders(folder)})
        if not found and not refused:
            raise ManifestError(f"{folder}: no version folder, e.g. {folder / '1'}")
    except ManifestError as error:
        return (), [Broken(folder.name, folder, error.detail)]
    return tuple(sorted(found, key=lambda entry: age(entry.version))), refused


def missing(folder: Path, manifest: Manifest, there: set[str]) -> list[Broken]:
    """The versions that the policy names and the folder does not hold."""
    policy = manifest.version_policy
    named = () if policy == "all" else policy.specific or ()
    return [
        Broken(
            folder.name,
            folder / str(name),
            f"{folder / FILE}: version_policy names {name}, which is not there",
            str(name),
        )
        for name in named
        if str(name) not in there
    ]


def tell(item: Broken) -> None:
    log.error("model is broken", extra={"model": item.name, "path": str(item.path), "reason": item.reason})


def age(version: str) -> tuple[bool, int, str]:
    """Sort key, newest last: names before numbers, numbers by value."""
    return (True, int(version), version) if version.isdigit() else (False, 0, version)


def subfolders(path: Path) -> list[Path]:
    return sorted(
        sub for sub in path.iterdir() if sub.name[0] not in "._" and not sub.name.endswith(UNFINISHED) and sub.is_dir()
    )
