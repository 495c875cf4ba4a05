"""Python values as a job's inputs: what JSON can say, `{"b64": …}`, or a reference to an uploaded object."""

import base64
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from penstock.errors import Fault, InvalidInput

#: Larger files and byte strings are uploaded first: streamed, never as base64 in a body.
INLINE_BYTES = 1024 * 1024

#: Stores bytes or a file and says the object's id.
Upload = Callable[[bytes | Path], str]


def encode(value: Any, upload: Upload, *, pointer: str = "#/inputs") -> Any:
    """`value` as the gateway reads it; raises InvalidInput that names the place of what has no form.

    Paths are read (a `.npy` file is always uploaded: the worker reads its header), bytes become
    base64 or an upload, arrays (anything with `tolist`) nested lists, tuples lists.
    """
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): encode(item, upload, pointer=f"{pointer}/{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode(item, upload, pointer=f"{pointer}/{place}") for place, item in enumerate(value)]
    if isinstance(value, Path):
        return encode_file(value, upload, pointer=pointer)
    if isinstance(value, bytes | bytearray | memoryview):
        return encode_bytes(bytes(value), upload)
    if callable(tolist := getattr(value, "tolist", None)):
        return encode(tolist(), upload, pointer=pointer)
    raise invalid(pointer, f"cannot send a {type(value).__name__}; use JSON values, bytes, a pathlib.Path or an array")


def encode_file(path: Path, upload: Upload, *, pointer: str) -> Any:
    try:
        if path.suffix == ".npy" or path.stat().st_size > INLINE_BYTES:
            return {"object": upload(path)}
        return encode_bytes(path.read_bytes(), upload)
    except OSError as error:
        raise invalid(pointer, f"cannot read {path} ({(error.strerror or str(error)).lower()})") from error


def encode_bytes(data: bytes, upload: Upload) -> Any:
    if len(data) > INLINE_BYTES:
        return {"object": upload(data)}
    return {"b64": base64.b64encode(data).decode()}


def invalid(pointer: str, detail: str) -> InvalidInput:
    name = pointer.removeprefix("#/")
    return InvalidInput(f"{name}: {detail}", errors=[Fault(pointer, detail)])
