"""Values of a `model.yaml` replaced where they stand: its comments, order and spelling are its author's."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from errors import ManifestError
from models import reading

#: Numbers and names by their path, e.g. `("batching", "max_items"): 16`.
Changes = Mapping[tuple[str, ...], int | str]


def rewrite(file: Path, changes: Changes) -> None:
    """Change a manifest in one step; raises ManifestError, and then it is as it was."""
    try:
        text = edited(file.read_bytes().decode(), changes)
        handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{file}: cannot be changed: {error}") from error
    made = Path(name)
    try:
        with open(handle, "wb") as sink:
            sink.write(text.encode())
            sink.flush()
            os.fsync(sink.fileno())
        made.chmod(file.stat().st_mode & 0o777)
        reading.read_file(made, yaml.safe_load(text)["name"])
        made.replace(file)
    except OSError as error:
        raise ManifestError(f"{file}: cannot be written: {error.strerror}") from error
    finally:
        made.unlink(missing_ok=True)


def edited(text: str, changes: Changes) -> str:
    """The text with these values; raises ManifestError where that cannot be done without touching anything else."""
    wanted = unshared(yaml.safe_load(text))
    try:
        for path, value in changes.items():
            put(wanted, path, value)
            text = replaced(text, path, value)
        found = yaml.safe_load(text)
    except (yaml.YAMLError, TypeError, AttributeError):
        found = None
    if found != wanted:
        told = ", ".join(f"{'.'.join(path)}: {value}" for path, value in changes.items())
        raise ManifestError(f"the manifest is written in a way that cannot be edited by rule; set by hand: {told}")
    return text


def unshared(value: Any) -> Any:
    """A copy in which what an alias (`*x`) repeats is there twice, so that one can change without the other."""
    if isinstance(value, dict):
        return {key: unshared(item) for key, item in value.items()}
    return [unshared(item) for item in value] if isinstance(value, list) else value


def put(content: Any, path: tuple[str, ...], value: object) -> None:
    *folders, last = path
    for folder in folders:
        content = content.setdefault(folder, {})
    content[last] = value


def replaced(text: str, path: tuple[str, ...], value: object) -> str:
    """The text with one value replaced, or added where it is missing."""
    mapping: Any = yaml.compose(text, yaml.SafeLoader)
    for depth, key in enumerate(path):
        if not isinstance(mapping, yaml.MappingNode):
            return text
        node = next((held for name, held in mapping.value if name.value == key), None)
        if node is None:
            return added(text, mapping, path[depth:], value)
        mapping = node
    return text[: int(mapping.start_mark.index)] + str(value) + text[int(mapping.end_mark.index) :]


def added(text: str, mapping: Any, path: tuple[str, ...], value: object) -> str:
    entry = "".join(f"{key}: {{" for key in path[:-1]) + f"{path[-1]}: {value}" + "}" * (len(path) - 1)
    if mapping.flow_style:
        place = int(mapping.start_mark.index) + 1
        return text[:place] + entry + (", " if mapping.value else "") + text[place:]
    first = mapping.value[0][0].start_mark
    column, place = int(first.column), int(first.index)
    if column == 0:
        # At the end of the file, not before its first key: that is the model's name.
        return text + ("" if text.endswith("\n") else "\n") + entry + "\n"
    return text[:place] + entry + "\n" + " " * column + text[place:]
