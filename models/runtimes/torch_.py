"""PyTorch: exactly one of three files in the version's folder.

- `model.pt2`: a `torch.export` archive.
- `model.ts`: TorchScript.
- `model.safetensors`: a state dict for the class `Network` in `handler.py`.

Tensors are handed over by position, in the order of the manifest's inputs (or of the dict that
`preprocess` returns). What comes back is a dict, or one tensor, or a sequence of them, named by
`options.outputs` (default: the manifest's outputs). No pickle is ever loaded.
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export import passes

from errors import LoadError, ModelError
from models.arrays import Batch
from models.catalog import Entry
from models.handler import Handler

Network = Callable[..., Any]


class TorchRuntime:
    """A network on a device, called in inference mode."""

    def __init__(self, network: Network, device: torch.device, outputs: list[str]) -> None:
        self.network = network
        self.device = device
        self.outputs = outputs

    def predict(self, tensors: Batch) -> Batch:
        try:
            with torch.inference_mode():
                result = self.network(*[self.tensor(rows) for rows in tensors.values()])
                return {name: tensor.cpu().numpy() for name, tensor in self.named(result).items()}
        except torch.OutOfMemoryError:
            # What the failed try cached would be missing in the next, smaller one.
            torch.cuda.empty_cache()
            raise

    def tensor(self, rows: Any) -> torch.Tensor:
        array = np.asarray(rows)
        # torch warns of arrays that it must not write to, such as a decoded picture.
        return torch.from_numpy(array if array.flags.writeable else array.copy()).to(self.device)

    def named(self, result: Any) -> dict[str, torch.Tensor]:
        if isinstance(result, dict):
            return result
        tensors = list(result) if isinstance(result, (tuple, list)) else [result]
        if len(tensors) != len(self.outputs):
            raise ModelError(f"the network returned {len(tensors)} tensors, named are {self.outputs}")
        return dict(zip(self.outputs, tensors, strict=True))


def load(entry: Entry, device: str, handler: Handler) -> TorchRuntime:
    """A ready network; raises LoadError where the file or the device is missing."""
    torch.set_num_threads(entry.manifest.threads)
    place = torch.device(device)
    if place.type == "cuda" and not torch.cuda.is_available():
        raise LoadError(f"{entry.path}: device {device!r} is not there for torch")
    found = [name for name in LOADERS if (entry.path / name).is_file()]
    if len(found) != 1:
        raise LoadError(f"{entry.path}: needs exactly one of {', '.join(LOADERS)}; has {', '.join(found) or 'none'}")
    network = LOADERS[found[0]](entry.path / found[0], place, handler)
    names = entry.manifest.options.get("outputs") or [tensor.name for tensor in entry.manifest.outputs]
    return TorchRuntime(network, place, list(names))


def exported(file: Path, device: torch.device, handler: Handler) -> Network:
    program = torch.export.load(file)
    if device.type != "cpu":
        program = passes.move_to_device_pass(program, device)
    network: Network = program.module()
    return network


def scripted(file: Path, device: torch.device, handler: Handler) -> Network:
    # Deprecated in favour of torch.export, and still what many teams have: the operator chose it.
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        network: Network = torch.jit.load(file, map_location=device).eval()  # type: ignore[no-untyped-call]
    return network


def from_state(file: Path, device: torch.device, handler: Handler) -> Network:
    from safetensors.torch import load_file

    network: torch.nn.Module = handler.construct("Network")
    network.load_state_dict(load_file(file, device=str(device)))
    return network.to(device).eval()


LOADERS: dict[str, Callable[[Path, torch.device, Handler], Network]] = {
    "model.pt2": exported,
    "model.ts": scripted,
    "model.safetensors": from_state,
}
