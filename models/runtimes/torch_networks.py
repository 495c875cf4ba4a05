"""PyTorch: a network out of the one file that a version's folder holds."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.export import passes

from errors import LoadError
from models.catalog import Entry
from models.handler import Handler
from models.runtimes import archives

Network = Callable[..., Any]


def open_network(entry: Entry, device: torch.device, handler: Handler) -> Network:
    """The network, in evaluation mode, on the device; raises LoadError where there is not exactly one file."""
    found = [name for name in LOADERS if (entry.path / name).is_file()]
    if len(found) != 1:
        raise LoadError(f"{entry.path}: needs exactly one of {', '.join(LOADERS)}; has {', '.join(found) or 'none'}")
    return LOADERS[found[0]](entry.path / found[0], device, handler)


def exported(file: Path, device: torch.device, handler: Handler) -> Network:
    program = archives.load(file)
    if device.type != "cpu":
        program = passes.move_to_device_pass(program, device)
    network: Network = program.module()
    return network


def scripted(file: Path, device: torch.device, handler: Handler) -> Network:
    if not handler.entry.manifest.options.get("torchscript"):
        raise LoadError(
            f"{file}: TorchScript is deprecated, and read only where the manifest says "
            "`options: {torchscript: true}`; rather export the model with torch.export.save as model.pt2"
        )
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
