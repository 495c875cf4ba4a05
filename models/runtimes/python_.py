"""A model that is all handler: the class `Model` with `load(device)` and `predict(batch)`.

`load` gets "cpu" or "cuda:0" and puts the model there, or raises: what it does not say is not known to be wrong.
`predict` gets a dict of names to the rows of all jobs of a batch, and returns a dict of names to as
many rows. A row may be an exception in place of a value: then only the job that owns it fails.
"""

import inspect
import sys
from typing import Any

from errors import LoadError
from models.catalog import Entry
from models.handler import Handler

#: The methods of a Model, and what each takes.
METHODS = {"load": "device", "predict": "batch"}


def load(entry: Entry, device: str, handler: Handler) -> Any:
    """The operator's Model, loaded; raises LoadError where a method is missing or takes something else."""
    model = handler.construct("Model")
    for method, takes in METHODS.items():
        check(entry, model, method, takes)
    model.load(device)
    if torch := sys.modules.get("torch"):
        # Only where the handler uses it; its default is a thread for every core.
        torch.set_num_threads(entry.manifest.threads)
    return model


def check(entry: Entry, model: Any, method: str, takes: str) -> None:
    wanted = f"the class Model in handler.py needs `def {method}(self, {takes})`"
    function = getattr(model, method, None)
    if not callable(function):
        raise LoadError(f"{entry.path}: {wanted}; it has no method {method}")
    if inspect.iscoroutinefunction(function):
        raise LoadError(f"{entry.path}: {wanted}, not `async def`: an executor runs one batch at a time")
    try:
        inspect.signature(function).bind(takes)
    except TypeError as error:
        raise LoadError(f"{entry.path}: {wanted}; its own does not take that: {error}") from error
