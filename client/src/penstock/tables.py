"""Tables on this side of the network: which files hold the rows, and frames and rows as a file."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from glob import glob, has_magic
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from penstock.errors import Fault, InvalidInput
from penstock.objects import StoredObject

#: Endings of files to the format that they tell.
FORMATS = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip
#: Endings of what is compressed, which stand behind those; Parquet is so inside.
COMPRESSED = (".gz", ".zst")
#: How the ids of uploads begin.
OBJECT = "obj_"


class Rows(NamedTuple):
    """Where rows are."""

    #: `s3://bucket/key`; empty for others.
    uri: str = ""
    #: Files here, or ids of what was uploaded before, in the order in which their rows count.
    sources: tuple[Path | str, ...] = ()
    #: As the files' names tell; None where they do not.
    format: str | None = None


@contextmanager
def rows_of(table: Any) -> Iterator[Rows]:
    """Where the rows of whatever a caller calls a table are; a file made for them lives as long as the block.

    Raises InvalidInput for what is no table, OSError where a file cannot be written.
    """
    if isinstance(table, str) and table.startswith("s3://"):
        yield Rows(uri=table)
    elif isinstance(table, StoredObject) or (isinstance(table, str) and table.startswith(OBJECT)):
        yield Rows(sources=(table.id if isinstance(table, StoredObject) else table,))
    elif isinstance(table, str | Path):
        yield from_files(files(table))
    elif isinstance(table, Sequence) and table and all(isinstance(one, str | Path | StoredObject) for one in table):
        yield from_many(table)
    else:
        with TemporaryDirectory(prefix="penstock-") as folder:
            yield from_files([written(table, Path(folder))])


def files(path: str | Path) -> list[Path]:
    """The files that a path means, by name: itself, those of a folder, or those that a pattern finds."""
    found = Path(path)
    if found.is_dir():
        inside = sorted(one for one in found.iterdir() if format_of(one))
        if not inside:
            raise invalid(f"folder {path} holds no file that ends in {', '.join(FORMATS)}")
        return inside
    if not found.exists() and has_magic(str(path)):
        matches = sorted(Path(one) for one in glob(str(path), recursive=True) if Path(one).is_file())
        if not matches:
            raise invalid(f"no file matches {path}")
        return matches
    if not found.is_file():
        raise invalid(f"there is no file {path}")
    return [found]


def format_of(path: str | Path) -> str | None:
    """The format that a file's name tells."""
    name = Path(path).name.lower()
    for ending in COMPRESSED:
        name = name.removesuffix(ending)
    return FORMATS.get(Path(name).suffix)


def from_files(paths: Sequence[Path]) -> Rows:
    return Rows(sources=tuple(paths), format=one_format(paths))


def from_many(table: Sequence[str | Path | StoredObject]) -> Rows:
    sources: list[Path | str] = []
    for one in table:
        if isinstance(one, StoredObject):
            sources.append(one.id)
        elif isinstance(one, str) and one.startswith(OBJECT):
            sources.append(one)
        else:
            sources += files(one)
    return Rows(sources=tuple(sources), format=one_format([one for one in sources if isinstance(one, Path)]))


def one_format(paths: Sequence[Path]) -> str | None:
    found = {format_of(path) for path in paths}
    if len(found) > 1:
        names = ", ".join(sorted({path.name for path in paths})[:4])
        raise invalid(f"the files of one scoring have one format, and these have several: {names}")
    return found.pop() if found else None


def written(table: Any, folder: Path) -> Path:
    """A frame as Parquet, rows as JSON lines; raises InvalidInput for anything else."""
    path = folder / "rows.parquet"
    if callable(write := getattr(table, "write_parquet", None)):  # polars
        write(path)
    elif callable(write := getattr(table, "to_parquet", None)):  # pandas
        write(path, index=False)
    elif isinstance(table, Mapping) or not hasattr(table, "__iter__"):
        raise invalid(f"cannot score a {type(table).__name__}; use a path, an object's id, a frame or a list of rows")
    else:
        path = folder / "rows.jsonl"
        with path.open("w", encoding="utf-8") as file:
            for number, row in enumerate(table):
                file.write(line(number, row) + "\n")
    return path


def line(number: int, row: Any) -> str:
    if not isinstance(row, Mapping):
        raise invalid(f"row {number} is a {type(row).__name__}; a row is a mapping of column names to values")
    try:
        return json.dumps(dict(row), ensure_ascii=False, allow_nan=False, default=plain)
    except (ValueError, TypeError) as error:
        raise invalid(f"row {number} is not expressible in JSON: {error}") from error


def plain(value: Any) -> Any:
    """Arrays, and numbers of array libraries, as JSON's."""
    if callable(tolist := getattr(value, "tolist", None)):
        return tolist()
    raise TypeError(f"a {type(value).__name__}")


def invalid(detail: str) -> InvalidInput:
    return InvalidInput(detail, errors=[Fault("#/input", detail)])
