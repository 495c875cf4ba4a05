"""Where an executor keeps what is made once from a model's files and read often; told by the worker at its start.

Whatever lies there can be made again, and nothing fails where there is no such place.
"""

from pathlib import Path

_folder: Path | None = None


def keep_in(folder: Path) -> None:
    global _folder
    _folder = folder


def folder() -> Path | None:
    return _folder
