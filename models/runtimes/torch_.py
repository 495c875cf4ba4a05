"""PyTorch: exactly one of three files in the version's folder.

- `model.pt2`: a `torch.export` archive of tensors and operators (`models.runtimes.archives`).
- `model.safetensors`: a state dict for the class `Network` in `handler.py`.
- `model.ts`: TorchScript, where the manifest says `options.torchscript: true`.

Tensors are handed over by position, in the order of the manifest's inputs (or of the dict that
`preprocess` returns). What comes back is a dict, or one tensor, or a sequence of them, named by
`options.outputs` (default: the manifest's outputs). No pickle is ever loaded.
"""

from collections.abc import Callable
from typing import Any

import torch

from errors import LoadError, ModelError
from models.arrays import Batch
from models.catalog import Entry
from models.handler import Handler
from models.runtimes.torch_networks import Network, open_network
from models.runtimes.torch_options import Options
from models.runtimes.torch_transfer import PinnedTransfer, Transfer


class TorchRuntime:
    """A network on a device, called in inference mode."""

    def __init__(self, network: Network, transfer: Transfer, options: Options, outputs: list[str]) -> None:
        self.network = network
        self.transfer = transfer
        self.options = options
        self.outputs = outputs
        #: Numbers of rows to run before the model counts as ready.
        self.warm_rows = options.warm_rows

    def predict(self, tensors: Batch) -> Batch:
        try:
            with torch.inference_mode(), self.options.autocast():
                given = [self.options.shaped(self.transfer.put(rows)) for rows in tensors.values()]
                return dict(self.transfer.take(self.named(self.network(*given))))
        except torch.OutOfMemoryError:
            # What the failed try cached would be missing in the next, smaller one.
            torch.cuda.empty_cache()
            raise

    def named(self, result: Any) -> dict[str, torch.Tensor]:
        if isinstance(result, dict):
            return result
        tensors = list(result) if isinstance(result, (tuple, list)) else [result]
        if len(tensors) != len(self.outputs):
            raise ModelError(f"the network returned {len(tensors)} tensors, named are {self.outputs}")
        return dict(zip(self.outputs, tensors, strict=True))


def load(entry: Entry, device: str, handler: Handler) -> TorchRuntime:
    """A ready network; raises LoadError where a file, an option or the device is not right."""
    set_threads(entry.manifest.threads)
    place = torch.device(device)
    if place.type == "cuda":
        require_gpu(place)
    options = Options.of(entry, place)
    network = options.prepared(open_network(entry, place, handler))
    transfer = PinnedTransfer(place) if place.type == "cuda" else Transfer(place)
    names = entry.manifest.options.get("outputs") or [tensor.name for tensor in entry.manifest.outputs]
    return TorchRuntime(network, transfer, options, list(names))


def set_threads(threads: int) -> None:
    """So many threads inside an operator, and one for operators: an executor runs one batch at a time."""
    torch.set_num_threads(threads)
    # torch lets it be set once in a process, before any parallel work.
    if torch.get_num_interop_threads() != 1:
        torch.set_num_interop_threads(1)


def require_gpu(device: torch.device, *, compute: Callable[[torch.device], object] | None = None) -> None:
    """Raise LoadError, which says why, where torch cannot compute on the GPU."""
    if torch.version.cuda is None:
        raise LoadError(f"torch cannot use {device}: {torch.__version__} is built without CUDA; {WHAT_TO_DO}")
    if not torch.cuda.is_available():
        raise LoadError(
            f"torch cannot use {device}: it finds no GPU, or no driver for CUDA {torch.version.cuda}; {WHAT_TO_DO}"
        )
    if (device.index or 0) >= torch.cuda.device_count():
        raise LoadError(f"torch cannot use {device}: it sees {torch.cuda.device_count()} GPUs; {WHAT_TO_DO}")
    try:
        (compute or one_sum)(device)
    except RuntimeError as error:
        # Such as a GPU older or newer than what this torch was compiled for.
        raise LoadError(f"torch cannot use {device}: {str(error).splitlines()[0]}; {WHAT_TO_DO}") from error


def one_sum(device: torch.device) -> float:
    return torch.ones(2, device=device).sum().item()


WHAT_TO_DO = "install a torch that fits this GPU and its driver, or serve the model in pool 'cpu'"
