"""PyTorch: how a manifest wants its network run.

- `options.precision`: `fp32` (default), `fp16`, `bf16`. A `Network` of `handler.py` gets weights of that precision;
  a graph, whose types are fixed, runs under autocast. On a CPU fp16 is slower than fp32 and fp32 is used.
- `options.compile`: `true`, or a map of `mode` and `backend` for `torch.compile`, and `batch_sizes` to compile for.
- `options.channels_last`: pictures of four axes lie in memory channel by channel.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch

from errors import LoadError
from models.catalog import Entry
from models.runtimes.torch_networks import Network

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
#: What `options.compile` may hold.
COMPILE = ("mode", "backend", "batch_sizes")


@dataclass(frozen=True)
class Options:
    """Read and checked."""

    device: torch.device
    precision: torch.dtype = torch.float32
    #: Weights of `precision`, rather than autocast.
    whole: bool = False
    channels_last: bool = False
    #: Arguments of torch.compile; None: not compiled.
    compiled: dict[str, Any] | None = None
    #: Numbers of rows to run before the model counts as ready.
    warm_rows: tuple[int, ...] = field(default=())

    @classmethod
    def of(cls, entry: Entry, device: torch.device) -> "Options":
        """The options of a manifest on a device; raises LoadError where one is unknown or cannot hold."""
        given = entry.manifest.options
        name = given.get("precision", "fp32")
        if name not in PRECISIONS:
            raise LoadError(f"{entry.path}: options.precision {name!r} is none of {', '.join(PRECISIONS)}")
        precision = PRECISIONS[name]
        if device.type == "cpu" and precision == torch.float16:
            precision = torch.float32
        compiled, warm_rows = compiling(entry)
        return cls(
            device,
            precision,
            whole=(entry.path / "model.safetensors").is_file(),
            channels_last=bool(given.get("channels_last")),
            compiled=compiled,
            # A GPU chooses and loads its kernels at the first batch of a size.
            warm_rows=warm_rows or ((1, entry.manifest.batching.max_items) if device.type == "cuda" else ()),
        )

    def prepared(self, network: Network) -> Network:
        """The network in the precision and layout asked for, compiled where asked for."""
        if isinstance(network, torch.nn.Module) and self.whole:
            network = network.to(self.precision)
            if self.channels_last:
                network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network if self.compiled is None else torch.compile(network, **self.compiled)

    def shaped(self, tensor: torch.Tensor) -> torch.Tensor:
        """An input in the precision and layout of the network."""
        if self.whole and tensor.dtype == torch.float32:
            tensor = tensor.to(self.precision)
        if self.channels_last and tensor.dim() == 4:
            tensor = tensor.contiguous(memory_format=torch.channels_last)
        return tensor

    def autocast(self) -> AbstractContextManager[Any]:
        if self.whole or self.precision == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.precision)


def compiling(entry: Entry) -> tuple[dict[str, Any] | None, tuple[int, ...]]:
    """The arguments of torch.compile and the batch sizes to compile for; raises LoadError."""
    asked = entry.manifest.options.get("compile", False)
    if asked is False:
        return None, ()
    given = {} if asked is True else asked
    if not isinstance(given, dict) or set(given) - set(COMPILE):
        raise LoadError(f"{entry.path}: options.compile must be true or a map of {', '.join(COMPILE)}, not {asked!r}")
    if entry.manifest.example is None:
        raise LoadError(f"{entry.path}: options.compile needs an `example` to compile with before the first job")
    most = entry.manifest.batching.max_items
    sizes = given.get("batch_sizes", sorted({1, min(2, most), most}))
    if not isinstance(sizes, list) or not all(type(size) is int and 1 <= size <= most for size in sizes):
        raise LoadError(f"{entry.path}: options.compile.batch_sizes must be a list of 1 to batching.max_items ({most})")
    # One program for every size: without `dynamic` each new size would be compiled while its jobs wait.
    arguments = {name: given[name] for name in ("mode", "backend") if name in given}
    return {"dynamic": True, **arguments}, tuple(sizes)
