"""Page-locked host memory, from which a GPU copies by itself while the CPU goes on; without torch.

Through the driver's library: cuMemHostAlloc and cuMemFreeHost (CUDA Driver API, "Memory Management"), in the primary
context that the runtime in this process uses as well.
"""

import ctypes
import logging
from typing import Any

import numpy as np

from models.arrays import Array

log = logging.getLogger(__name__)

#: A buffer grows in powers of two, from here, in bytes.
SMALLEST = 64 * 1024


class HostMemory:
    """Ordinary memory: where no GPU copies from it."""

    def allocate(self, size: int) -> Array:
        return np.empty(size, np.uint8)

    def free(self, buffer: Array) -> None:
        """Nothing to do: it ends with its last reference."""


class PinnedMemory(HostMemory):
    """Page-locked memory of a GPU; ordinary memory where the driver gives none, which is slower and no error."""

    def __init__(self, device: int, driver: Any = None) -> None:
        self._driver = driver or ctypes.CDLL("libcuda.so.1")
        self._pointers: dict[int, ctypes.c_void_p] = {}
        handle, context = ctypes.c_int(), ctypes.c_void_p()
        self._ready = (
            self._did("cuInit", 0)
            and self._did("cuDeviceGet", ctypes.byref(handle), device)
            and self._did("cuDevicePrimaryCtxRetain", ctypes.byref(context), handle)
            and self._did("cuCtxSetCurrent", context)
        )

    def allocate(self, size: int) -> Array:
        pointer = ctypes.c_void_p()
        if not (self._ready and self._did("cuMemHostAlloc", ctypes.byref(pointer), ctypes.c_size_t(size), 0)):
            return super().allocate(size)
        buffer = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(pointer.value or 0))
        self._pointers[buffer.ctypes.data] = pointer
        return buffer

    def free(self, buffer: Array) -> None:
        if pointer := self._pointers.pop(buffer.ctypes.data, None):
            self._did("cuMemFreeHost", pointer)

    def _did(self, call: str, *arguments: Any) -> bool:
        status: int = getattr(self._driver, call)(*arguments)
        if status:
            log.warning("no page-locked memory", extra={"call": call, "status": status})
        return status == 0


class Staging:
    """A buffer for each input, used again from batch to batch: what was placed is overwritten by the next."""

    def __init__(self, memory: HostMemory) -> None:
        self._memory = memory
        self._buffers: dict[str, Array] = {}

    def place(self, name: str, rows: Array) -> Array:
        """A copy of the rows in this input's buffer, as one block."""
        buffer = self._buffers.get(name)
        if buffer is None or buffer.nbytes < rows.nbytes:
            if buffer is not None:
                self._memory.free(buffer)
            buffer = self._buffers[name] = self._memory.allocate(max(SMALLEST, 1 << (rows.nbytes - 1).bit_length()))
        placed = buffer[: rows.nbytes].view(rows.dtype).reshape(rows.shape)
        np.copyto(placed, rows)
        return placed
