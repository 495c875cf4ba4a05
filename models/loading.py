"""A model made ready in this process: what an executor holds.

model = load(catalog.get("minilm"), "cpu")
model.warm_up()
outcomes = model.run([Call(decode(model.manifest, inputs, fetch), parameters), ...])
"""

import importlib
from collections.abc import Sequence
from typing import Protocol

from errors import LoadError, ManifestError, PenstockError
from models import arrays, handler
from models.arrays import Batch
from models.catalog import Entry
from models.ceiling import Ceiling
from models.failures import described
from models.filling import filled
from models.handler import Handler
from models.running import Call, Outcome, Run, Spent
from models.runtimes import RUNTIMES


class Runtime(Protocol):
    """What a module of `models.runtimes` gives from its `load(entry, device, handler)`."""

    def predict(self, tensors: Batch) -> object:
        """Outputs by name for a whole batch; may raise anything."""


class LoadedModel:
    """One version of a model on one device. Not thread-safe: an executor runs one batch at a time."""

    def __init__(self, entry: Entry, device: str, runtime: Runtime, steps: Handler) -> None:
        self.entry = entry
        self.manifest = entry.manifest
        self.device = device
        self.runtime = runtime
        self.handler = steps
        #: Where the last batch's time went.
        self.spent = Spent(0.0, 0.0, 0.0)
        self.ceiling = Ceiling()

    def run(self, calls: Sequence[Call]) -> list[Outcome]:
        """An outcome for each call, in order: outputs by name, or the error that this call alone ended with."""
        run = Run(self.manifest, self.handler, self.runtime.predict, calls, self.ceiling)
        outcomes = run.outcomes()
        self.spent = run.spent
        return outcomes

    def warm_up(self) -> None:
        """Run the manifest's example, if it has one; raises LoadError where that fails.

        Then its first row, as many times as the runtime wants to have seen: a job should not wait for what the first
        batch of a size costs.
        """
        if self.manifest.example is None:
            return
        inputs = arrays.decode(self.manifest, filled(self.manifest), refuse)
        self.expect([Call(inputs)])
        if self.manifest.rowed:
            row = Call({name: rows[:1] for name, rows in inputs.items()})
            for count in getattr(self.runtime, "warm_rows", ()):
                self.expect([row] * count)

    def expect(self, calls: Sequence[Call]) -> None:
        for outcome in self.run(calls):
            if isinstance(outcome, PenstockError):
                raise LoadError(f"{title(self.entry)}: its example fails: {outcome.detail}") from outcome


def load(entry: Entry, device: str) -> LoadedModel:
    """Load a model onto `device` (`cpu`, `cuda` or `cuda:1`); raises LoadError, whatever the cause."""
    try:
        module = RUNTIMES[entry.manifest.runtime]
    except KeyError as error:
        known = ", ".join(RUNTIMES)
        raise ManifestError(f"runtime {entry.manifest.runtime!r} is unknown; known are {known}") from error
    try:
        steps = handler.load(entry)
        runtime: Runtime = importlib.import_module(module).load(entry, device, steps)
    except LoadError:
        raise
    except Exception as error:  # libraries and handlers raise anything while they load
        raise LoadError(f"{title(entry)}: {described(error)}") from error
    return LoadedModel(entry, device, runtime, steps)


def title(entry: Entry) -> str:
    return f"model {entry.manifest.name!r} version {entry.version}"


def refuse(key: str) -> bytes:
    raise LoadError(f"the example refers to a stored object, {key!r}; it must hold its values itself")
