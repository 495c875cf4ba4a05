"""PyTorch: rows onto a device and back.

To a GPU through page-locked memory, so that copies of several tensors overlap, and the CPU waits once, for all that
comes back (https://docs.pytorch.org/tutorials/intermediate/pinmem_nonblock.html).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from models.arrays import Array

#: Makes host memory: `empty(shape, dtype=...)`.
Empty = Callable[..., torch.Tensor]


class Transfer:
    """Between numpy and a device that reads memory where it lies: the CPU."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def put(self, rows: Any) -> torch.Tensor:
        """The rows as a tensor on the device."""
        array = np.asarray(rows)
        # torch warns of arrays that it must not write to, such as a decoded picture.
        return torch.from_numpy(array if array.flags.writeable else array.copy()).to(self.device)

    def take(self, tensors: dict[str, torch.Tensor]) -> dict[str, Array]:
        """The tensors as arrays on the host; half precision, which JSON and bf16-less numpy lack, as float32."""
        return {name: widened(tensor.detach()).cpu().numpy() for name, tensor in tensors.items()}


class PinnedTransfer(Transfer):
    """Between numpy and a GPU. `empty` and `wait` are given by tests, which have none."""

    def __init__(
        self,
        device: torch.device,
        *,
        empty: Empty | None = None,
        wait: Callable[[], None] = torch.cuda.synchronize,
    ) -> None:
        super().__init__(device)
        self._empty = empty or partial(torch.empty, pin_memory=True)
        self._wait = wait

    def put(self, rows: Any) -> torch.Tensor:
        array = np.asarray(rows)
        source = torch.from_numpy(array if array.flags.writeable else array.copy())
        # torch keeps pinned memory that is given back until the copies out of it are done.
        staged = self._empty(source.shape, dtype=source.dtype)
        staged.copy_(source)
        return staged.to(self.device, non_blocking=True)

    def take(self, tensors: dict[str, torch.Tensor]) -> dict[str, Array]:
        held = {}
        for name, tensor in tensors.items():
            made = widened(tensor.detach())
            held[name] = self._empty(made.shape, dtype=made.dtype).copy_(made, non_blocking=True)
        self._wait()
        return {name: tensor.numpy() for name, tensor in held.items()}


def widened(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
