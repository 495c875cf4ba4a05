"""Python values as a job's inputs: what JSON can say, `{"b64": …}`, or a reference to an uploaded object."""

import base64
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from penstock.errors import Fault, InvalidInput
from penstock.objects import StoredObject

#: Larger files and byte strings are uploaded first: streamed, never as base64 in a body.
INLINE_BYTES = 1024 * 1024

#: Stores bytes or a file and says the object's id.
Upload = Callable[[bytes | Path], str]
BYTES = (bytes, bytearray, memoryview)


def encode_inputs(inputs: Mapping[str, Any], upload: Upload) -> dict[str, Any]:
    """The inputs as the gateway reads them; raises InvalidInput that names the place of what has no form.

    Arrays (anything with `tolist`) become nested lists, files and bytes base64. One that is a whole
    input is uploaded where it is large: a reference stands for a whole input only. So is a `.npy`
    file of any size, whose header the worker reads.
    """
    return {name: encode_input(value, upload, pointer=f"#/inputs/{name}") for name, value in inputs.items()}


def encode_input(value: Any, upload: Upload, *, pointer: str) -> Any:
    if isinstance(value, StoredObject):
        return {"object": value.id}
    if isinstance(value, Path) and (value.suffix == ".npy" or size_of(value, pointer) > INLINE_BYTES):
        return {"object": upload(value)}
    if isinstance(value, BYTES) and memoryview(value).nbytes > INLINE_BYTES:
        return {"object": upload(bytes(value))}
    return encode(value, pointer=pointer)


def encode(value: Any, *, pointer: str) -> Any:
    """A value, or a part of one, as JSON."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): encode(item, pointer=f"{pointer}/{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode(item, pointer=f"{pointer}/{place}") for place, item in enumerate(value)]
    if isinstance(value, Path):
        return encode_file(value, pointer=pointer)
    if isinstance(value, BYTES):
        return base64_of(value)
    if callable(tolist := getattr(value, "tolist", None)):
        return encode(tolist(), pointer=pointer)
    raise invalid(pointer, f"cannot send a {type(value).__name__}; use JSON values, bytes, a pathlib.Path or an array")


def encode_file(path: Path, *, pointer: str) -> Any:
    if path.suffix == ".npy":
        raise invalid(pointer, f"{path.name} must be the whole input, not a part of it")
    try:
        return base64_of(path.read_bytes())
    except OSError as error:
        raise unreadable(pointer, path, error) from error


def base64_of(data: bytes | bytearray | memoryview) -> dict[str, str]:
    return {"b64": base64.b64encode(data).decode()}


def size_of(path: Path, pointer: str) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise unreadable(pointer, path, error) from error


def unreadable(pointer: str, path: Path, error: OSError) -> InvalidInput:
    return invalid(pointer, f"cannot read {path} ({(error.strerror or str(error)).lower()})")


def invalid(pointer: str, detail: str) -> InvalidInput:
    name = pointer.removeprefix("#/")
    return InvalidInput(f"{name}: {detail}", errors=[Fault(pointer, detail)])
