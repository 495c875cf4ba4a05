"""The model repository looked at again and again, as models and versions come and go while it is served.

A look costs a directory listing and two `stat` calls a version; a manifest is read again only where its model has
changed. Light: the gateway imports this.
"""

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from models.catalog import Broken, Catalog, Entry, subfolders, tell, versions
from models.reading import FILE

log = logging.getLogger(__name__)

#: How long a new folder must look the same, seconds: a little less than a second, in which it is looked at again.
SETTLE_S = 0.9
#: What tells whether a model's folder has to be read again.
Mark = tuple[object, ...]


class Repository:
    """One repository. Not thread-safe: one thread refreshes, anyone may take `catalog`, which is never changed.

    A folder that appears later counts once it has looked the same for a second. It should be renamed into place when
    it is whole; this keeps one that is copied in from being loaded while it grows.
    """

    def __init__(self, path: Path, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        """Raises OperatorError where there is no folder."""
        self.path = path
        self._marks: dict[str, Mark] = {}
        self._clock_s = clock_s
        #: New folders: what they held, and since when.
        self._growing: dict[Path, tuple[Mark, float]] = {}
        self.catalog = Catalog.load(path)
        for folder in subfolders(path):
            self._marks[folder.name] = mark(folder)

    def refresh(self) -> Catalog:
        """The catalog as the folder is now; the same object where nothing has changed."""
        try:
            self._look()
        except OSError as error:
            # A folder went away under the look, or the whole repository is: what is known stays until the next one.
            log.warning("the model repository cannot be read", extra={"reason": str(error)})
        return self.catalog

    def _look(self) -> None:
        folders = {folder.name: folder for folder in subfolders(self.path)}
        marks = {name: mark(folder) for name, folder in folders.items()}
        changed = [name for name in marks if marks[name] != self._marks.get(name)]
        gone = [name for name in self._marks if name not in folders]
        if not changed and not gone:
            return
        models = {name: entries for name, entries in self.catalog.read.items() if name in folders}
        broken = {item: None for item in self.catalog.unread if item.name in folders and item.name not in changed}
        for name in changed:
            entries, refused, whole = self._read(folders[name])
            models.pop(name, None)
            if entries:
                models[name] = entries
            for item in refused:
                broken[item] = None
            if whole:
                self._marks[name] = marks[name]
        for name in gone:
            del self._marks[name]
        known = self.catalog.broken
        self.catalog = Catalog(dict(sorted(models.items())), tuple(sorted(broken, key=lambda item: item.path)))
        for item in self.catalog.broken:
            if item not in known:
                tell(item)

    def _read(self, folder: Path) -> tuple[tuple[Entry, ...], list[Broken], bool]:
        """A model's versions, what is broken, and whether that is all; False: something still grows."""
        before = {entry.path: entry for entry in self.catalog.read.get(folder.name, ())}
        entries, refused = versions(folder)
        if refused and not entries:
            # Its manifest was spoilt while it is served: what was read before stays.
            return tuple(entry for entry in before.values() if entry.path.is_dir()), refused, True
        found: list[Entry | None] = []
        whole = True
        for entry in entries:
            old = before.get(entry.path)
            if (old is None or old.inode != entry.inode) and self._grows(entry.path):
                whole = False
                found.append(old)
            else:
                found.append(entry)
        return tuple(entry for entry in found if entry is not None), refused, whole

    def _grows(self, folder: Path) -> bool:
        """Whether a version's folder has changed in the last second, as far as was seen."""
        now, held = self._clock_s(), content(folder)
        before, since = self._growing.get(folder, ((), now))
        if before == held and now - since >= SETTLE_S:
            del self._growing[folder]
            return False
        self._growing[folder] = (held, since if before == held else now)
        return True


def mark(folder: Path) -> Mark:
    """Names and inodes of a model's versions, and the age of every manifest."""
    return stamp(folder / FILE), *((sub.name, sub.stat().st_ino, stamp(sub / FILE)) for sub in subfolders(folder))


def stamp(file: Path) -> object:
    try:
        status = file.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def content(folder: Path) -> Mark:
    """What files a version's folder holds, and how large and old each is."""
    return tuple(
        (path, stamp(path))
        for parent, _, files in sorted(os.walk(folder))
        for path in sorted(Path(parent, name) for name in files)
    )
