"""`name=value` on the command line, as a job's inputs, parameters and metadata."""

import json
import mimetypes
import sys
from pathlib import Path
from typing import Any

import click

INPUT_HELP = """NAME=VALUE: JSON where it reads as JSON ([1,2,3], 4.5, true), else text ('"42"' is the text 42).
NAME=@FILE sends a file: .json as JSON, .txt and the like as text, .npy as an array, others as bytes.
NAME=@- reads stdin."""


Values = tuple[str, ...]


def assignments(_ctx: click.Context, _parameter: click.Parameter, values: Values) -> dict[str, Any]:
    """Callback of `name=value`, `name=@file` and `name=@-`, repeated."""
    return {name: assigned(name, text) for name, text in map(split, values)}


def pairs(_ctx: click.Context, _parameter: click.Parameter, values: Values) -> dict[str, str]:
    """Callback of `key=text`, repeated."""
    return dict(map(split, values))


def body(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> dict[str, Any]:
    """Callback of a request body: JSON, `@file` or `@-`."""
    if value is None:
        return {}
    try:
        data = json.loads(raw(value[1:]) if value.startswith("@") else value)
    except OSError as error:
        raise click.BadParameter(f"cannot read {value[1:]} ({why(error)})") from error
    except ValueError as error:
        raise click.BadParameter(f"not JSON: {error}") from error
    if not isinstance(data, dict):
        raise click.BadParameter("it must be a JSON object, as the body of POST /v1/jobs")
    return data


def split(value: str) -> tuple[str, str]:
    name, equals, text = value.partition("=")
    if not equals or not name:
        raise click.BadParameter(f"{value!r} is not of the form name=value")
    return name, text


def assigned(name: str, text: str) -> Any:
    try:
        return read(text)
    except OSError as error:
        raise click.BadParameter(f"{name}: cannot read {text[1:]} ({why(error)})") from error
    except ValueError as error:
        raise click.BadParameter(f"{name}: {text[1:]} is not JSON ({error})") from error


def read(text: str) -> Any:
    """The value that a command line's text means; raises OSError, and ValueError for a broken .json file."""
    if text == "@-":
        return as_text(raw("-"))
    if text.startswith("@"):
        return from_file(Path(text[1:]))
    try:
        return json.loads(text, parse_constant=not_json)
    except ValueError:
        return text


def from_file(path: Path) -> Any:
    kind = mimetypes.guess_type(path.name)[0] or ""
    if kind == "application/json":
        return json.loads(path.read_bytes())
    if kind.startswith("text/"):
        return as_text(path.read_bytes())
    with path.open("rb"):  # a wrong name is told now, as a usage error
        return path


def raw(name: str) -> bytes:
    return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()


def as_text(data: bytes) -> str | bytes:
    """The text without its last line end; bytes that are not UTF-8 stay bytes."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return data
    return text.removesuffix("\n").removesuffix("\r")


def not_json(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")  # Python reads NaN and Infinity, RFC 8259 does not


def why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
