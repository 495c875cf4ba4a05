"""Python values as a job's inputs: what JSON can say, `{"b64": …}`, or a reference to an uploaded object.

Written by `python -m client.twin` from penstock.inputs: change that.
"""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from penstock.arrays import columns
from penstock.inputs import INLINE_BYTES, encode, invalid, size_of, to_upload
from penstock.objects import StoredObject

Upload = Callable[[bytes | Path], Awaitable[str]]


async def encode_inputs(inputs: Any, upload: Upload) -> dict[str, Any]:
    """The inputs as the gateway reads them; raises InvalidInput that names the place of what has no form.

    `inputs`: a mapping of names to values, or a table whose columns are the inputs. Arrays, CPU tensors and columns
    become nested lists, files, bytes and pictures base64. One that is a whole input is uploaded where it is large (an
    array as a `.npy` file): a reference stands for a whole input only. So is a `.npy` file of any size, whose header
    the worker reads.
    """
    found = inputs if isinstance(inputs, Mapping) else columns(inputs)
    if found is None:
        raise invalid("#/inputs", f"cannot read a {type(inputs).__name__}; use a mapping of input names, or a table")
    return {str(name): await encode_input(value, upload, pointer=f"#/inputs/{name}") for name, value in found.items()}


async def encode_input(value: Any, upload: Upload, *, pointer: str) -> Any:
    if isinstance(value, StoredObject):
        return {"object": value.id}
    if isinstance(value, Path) and (value.suffix == ".npy" or size_of(value, pointer) > INLINE_BYTES):
        return {"object": await upload(value)}
    content = to_upload(value, pointer)
    return encode(value, pointer=pointer) if content is None else {"object": await upload(content)}
