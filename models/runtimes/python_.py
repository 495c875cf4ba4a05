"""A model that is all handler: the class `Model` with `load(device)` and `predict(batch)`.

`predict` gets a dict of names to the rows of all jobs of a batch, and returns a dict of names to as
many rows. A row may be an exception in place of a value: then only the job that owns it fails.
"""

import sys
from typing import Any

from errors import LoadError
from models.catalog import Entry
from models.handler import Handler


def load(entry: Entry, device: str, handler: Handler) -> Any:
    """The operator's Model, loaded; raises LoadError where it lacks a method."""
    model = handler.construct("Model")
    for method in ("load", "predict"):
        if not callable(getattr(model, method, None)):
            raise LoadError(f"{entry.path}: the class Model in handler.py has no method {method}")
    model.load(device)
    if torch := sys.modules.get("torch"):
        # Only where the handler uses it; its default is a thread for every core.
        torch.set_num_threads(entry.manifest.threads)
    return model
