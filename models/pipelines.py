"""A pipeline and the models of its steps, found in a repository. Light."""

from collections.abc import Callable
from pathlib import Path

from errors import ManifestError
from models.composing import Graph, compose
from models.manifest import Manifest, Step

#: The manifest that a step's model has in the version asked for (None: the newest); None where there is none.
Find = Callable[[str, str | None], Manifest | None]
#: A file beside the manifest, or in the version's folder, whose `postprocess` makes the outputs (`models.handler`).
HANDLER = "handler.py"


def version_of(step: Step) -> str | None:
    return None if step.version is None else str(step.version)


def graph(pipeline: Manifest, path: Path, find: Find) -> Graph:
    """The pipeline whose version's folder is `path`; raises ManifestError with file, key and reason."""
    file = path.parent / "model.yaml"
    models: dict[str, Manifest] = {}
    for index, step in enumerate(pipeline.steps):
        model = find(step.model, version_of(step))
        if model is None:
            version = "" if step.version is None else f" in version {step.version}"
            raise ManifestError(f"{file}: steps[{index}].model: no model {step.model!r}{version} in the repository")
        models[step.name] = model
    handled = any((folder / HANDLER).is_file() for folder in (path, path.parent))
    made, complaints = compose(pipeline, models, handled=handled)
    for key, reason in complaints:
        raise ManifestError(f"{file}: {key}: {reason}")
    return made
