"""`handler.py`: an operator's own code around a runtime, or a whole model.

Around a runtime: `preprocess(inputs, parameters)` and `postprocess(outputs, parameters)`, either or
both, as functions or as methods of a class `Handler`; called per job with that job's rows. A whole
model (runtime `python`): a class `Model` with `load(device)` and `predict(batch)`. A state dict: a
class `Network`. The classes may take `folder` (the version's Path) and `manifest`, by these names.

The file is looked for in the version's folder, then in the model's. Files beside it are imported
relatively: `from .steps import crop`.
"""

import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from errors import LoadError
from models.catalog import Entry
from models.failures import described

FILE = "handler.py"
#: `preprocess` and `postprocess`: rows by name and the job's parameters, to rows by name.
Step = Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]


class Handler:
    """A loaded `handler.py`, or the absence of one."""

    def __init__(self, entry: Entry, module: ModuleType | None) -> None:
        self.entry = entry
        self.module = module
        steps = self.construct("Handler") if hasattr(module, "Handler") else module
        self.preprocess = self.step(steps, "preprocess", "inputs")
        self.postprocess = self.step(steps, "postprocess", "outputs")

    def step(self, steps: Any, name: str, takes: str) -> Step | None:
        """The function `name`, or None; raises LoadError where it cannot be called as it will be."""
        function: Step | None = getattr(steps, name, None)
        if function is None:
            return None
        wanted = f"{self.entry.path}: {name} in {FILE} must be `def {name}({takes}, parameters)`"
        if not callable(function) or inspect.iscoroutinefunction(function):
            raise LoadError(f"{wanted}, a function that is not async")
        try:
            inspect.signature(function).bind(takes, "parameters")
        except TypeError as error:
            raise LoadError(f"{wanted}: {error}") from error
        return function

    def construct(self, name: str) -> Any:
        """An instance of the handler's class `name`; raises LoadError where there is none."""
        kind = getattr(self.module, name, None)
        if not inspect.isclass(kind):
            raise LoadError(
                f"{self.entry.path}: runtime {self.entry.manifest.runtime!r} needs a class {name} in {FILE}"
            )
        offered = {"folder": self.entry.path, "manifest": self.entry.manifest}
        wanted = inspect.signature(kind).parameters
        return kind(**{key: value for key, value in offered.items() if key in wanted})


def load(entry: Entry) -> Handler:
    """The handler of a model's version; raises LoadError where its code does."""
    file = find(entry)
    if file is None:
        return Handler(entry, None)
    try:
        return Handler(entry, import_file(file, f"penstock_handler_{entry.manifest.name}_{entry.version}"))
    except LoadError:
        raise
    except Exception as error:  # whatever foreign code raises while it is imported
        raise LoadError(f"{file}: {described(error)}") from error


def find(entry: Entry) -> Path | None:
    return next((path for folder in (entry.path, entry.path.parent) if (path := folder / FILE).is_file()), None)


def import_file(file: Path, name: str) -> ModuleType:
    # Search locations make it a package, so that it can import the files beside it.
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=[str(file.parent)])
    if spec is None or spec.loader is None:
        raise LoadError(f"{file}: cannot be imported")
    module = importlib.util.module_from_spec(spec)
    # What a former load left behind: the files beside the handler may have changed since.
    for stale in [known for known in sys.modules if known == name or known.startswith(name + ".")]:
        del sys.modules[stale]
    # Registered before it runs: dataclasses and relative imports look themselves up.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
