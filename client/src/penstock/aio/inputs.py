"""Python values as a job's inputs: what JSON can say, `{"b64": …}`, or a reference to an uploaded object.

Written by `python -m client.twin` from penstock.inputs: change that.
"""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from penstock.inputs import BYTES, INLINE_BYTES, encode, size_of
from penstock.objects import StoredObject

Upload = Callable[[bytes | Path], Awaitable[str]]


async def encode_inputs(inputs: Mapping[str, Any], upload: Upload) -> dict[str, Any]:
    """The inputs as the gateway reads them; raises InvalidInput that names the place of what has no form.

    Arrays (anything with `tolist`) become nested lists, files and bytes base64. One that is a whole
    input is uploaded where it is large: a reference stands for a whole input only. So is a `.npy`
    file of any size, whose header the worker reads.
    """
    return {name: await encode_input(value, upload, pointer=f"#/inputs/{name}") for name, value in inputs.items()}


async def encode_input(value: Any, upload: Upload, *, pointer: str) -> Any:
    if isinstance(value, StoredObject):
        return {"object": value.id}
    if isinstance(value, Path) and (value.suffix == ".npy" or size_of(value, pointer) > INLINE_BYTES):
        return {"object": await upload(value)}
    if isinstance(value, BYTES) and memoryview(value).nbytes > INLINE_BYTES:
        return {"object": await upload(bytes(value))}
    return encode(value, pointer=pointer)
