"""Which file of a version's folder a runtime reads."""

from collections.abc import Sequence
from pathlib import Path

from errors import LoadError
from models.catalog import Entry


def chosen(entry: Entry, names: Sequence[str]) -> Path:
    """`options.file`, or the one of `names` that is there; raises LoadError where none or several are."""
    if name := entry.manifest.options.get("file"):
        return inside(entry, name)
    found = [name for name in names if (entry.path / name).exists()]
    if len(found) != 1:
        raise LoadError(f"{entry.path}: needs exactly one of {', '.join(names)}; has {', '.join(found) or 'none'}")
    return entry.path / found[0]


def inside(entry: Entry, name: object) -> Path:
    """The file or folder `name` of the version; raises LoadError where it is missing or lies elsewhere."""
    if not isinstance(name, str):
        raise LoadError(f"{entry.path}: options.file must be the name of a file, not {name!r}")
    path = entry.path / name
    # A package that somebody else made must not reach for the rest of the disk.
    if not path.resolve().is_relative_to(entry.path.resolve()):
        raise LoadError(f"{entry.path}: options.file {name!r} leads out of the version's folder; put the file into it")
    if not path.exists():
        raise LoadError(f"{path}: no such file")
    return path
