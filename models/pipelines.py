"""A pipeline and the models of its steps, found in a repository. Light."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
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


def with_steps(names: Collection[str], models: Mapping[str, Sequence[Manifest]]) -> set[str]:
    """The models named, and those of the steps of each that is a pipeline; `models` by name, every version's."""
    named = [manifest for name in names for manifest in models.get(name, ())]
    return {*names, *(step.model for manifest in named for step in manifest.steps)}


def pinned(manifests: Iterable[Manifest]) -> dict[str, frozenset[str]]:
    """The versions that steps of pipelines name, by model."""
    found: dict[str, frozenset[str]] = {}
    for step in (step for manifest in manifests for step in manifest.steps):
        if version := version_of(step):
            found[step.model] = found.get(step.model, frozenset()) | {version}
    return found


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
