"""Python values as a job's inputs: what JSON can say, `{"b64": …}`, or a reference to an uploaded object."""

import base64
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from penstock.arrays import Unfit, array_of, columns, finite, listed, npy, numeric, picture
from penstock.errors import Fault, InvalidInput
from penstock.objects import StoredObject

#: Larger files and byte strings are uploaded first: streamed, never as base64 in a body.
INLINE_BYTES = 1024 * 1024
#: Larger arrays of numbers are uploaded as `.npy` files: their text would be several times as long.
INLINE_ARRAY_BYTES = 64 * 1024

#: Stores bytes or a file and says the object's id.
Upload = Callable[[bytes | Path], str]
#: Names to values; a table of pandas, polars or Arrow has them as its columns.
Inputs = Mapping[str, Any] | Any
BYTES = (bytes, bytearray, memoryview)


def encode_inputs(inputs: Any, upload: Upload) -> dict[str, Any]:
    """The inputs as the gateway reads them; raises InvalidInput that names the place of what has no form.

    `inputs`: a mapping of names to values, or a table whose columns are the inputs. Arrays, CPU tensors and columns
    become nested lists, files, bytes and pictures base64. One that is a whole input is uploaded where it is large (an
    array as a `.npy` file): a reference stands for a whole input only. So is a `.npy` file of any size, whose header
    the worker reads.
    """
    found = inputs if isinstance(inputs, Mapping) else columns(inputs)
    if found is None:
        raise invalid("#/inputs", f"cannot read a {type(inputs).__name__}; use a mapping of input names, or a table")
    return {str(name): encode_input(value, upload, pointer=f"#/inputs/{name}") for name, value in found.items()}


def encode_input(value: Any, upload: Upload, *, pointer: str) -> Any:
    if isinstance(value, StoredObject):
        return {"object": value.id}
    if isinstance(value, Path) and (value.suffix == ".npy" or size_of(value, pointer) > INLINE_BYTES):
        return {"object": upload(value)}
    content = to_upload(value, pointer)
    return encode(value, pointer=pointer) if content is None else {"object": upload(content)}


def to_upload(value: Any, pointer: str) -> bytes | None:
    """What of a whole input is sent beforehand; None for what fits into the body."""
    if isinstance(value, BYTES):
        return bytes(value) if memoryview(value).nbytes > INLINE_BYTES else None
    if (content := png(value, pointer)) is not None:
        return content if len(content) > INLINE_BYTES else None
    array = numbers(value, pointer)
    if array is None or not array.size or (array.nbytes <= INLINE_ARRAY_BYTES and finite(array)):
        return None
    return npy(array)


def png(value: Any, pointer: str) -> bytes | None:
    try:
        return picture(value)
    except Unfit as error:
        raise invalid(pointer, str(error)) from error


def numbers(value: Any, pointer: str) -> Any:
    """The value as a numpy array where it is one of numbers, else None."""
    try:
        array = array_of(value)
    except Unfit as error:
        raise invalid(pointer, str(error)) from error
    return array if array is not None and numeric(array) else None


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
    if (content := png(value, pointer)) is not None:
        return base64_of(content)
    if (array := numbers(value, pointer)) is not None:
        return array.tolist()
    if (values := listed(value)) is not None:
        return encode(values, pointer=pointer)
    forms = "JSON values, bytes, a pathlib.Path, an array, a column or a picture"
    raise invalid(pointer, f"cannot send a {type(value).__name__}; use {forms}")


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
