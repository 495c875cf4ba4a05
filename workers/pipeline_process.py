"""The process of one pipeline version: numpy, the pipeline's graph and its handler, and no model library."""

import sys
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from errors import LoadError, UnknownModel
from models import handler, pipelines
from models.catalog import Catalog, Entry
from models.manifest import Manifest
from storage.objects import open_objects
from workers import stepwire, wire
from workers.child import begin, read_call, write
from workers.conductor import Conductor
from workers.wire import failure


def main(fd: int) -> int:
    begun = begin(fd, open_conductor)
    if begun is None:
        return 1
    pipe, _, conductor, load_ms = begun
    stepwire.send(pipe, wire.Ready(load_ms))
    serve(pipe, conductor)
    return 0


def open_conductor(spec: wire.Spec) -> Conductor:
    """The pipeline with its handler; raises PenstockError or whatever the handler's code raises."""
    catalog = Catalog.load(Path(spec.repository))
    entry = catalog.get(spec.model, spec.version)
    steps = handler.load(entry)
    check(entry, steps)
    objects = open_objects(spec.objects_url)
    return Conductor(
        entry.manifest,
        pipelines.graph(entry.manifest, entry.path, partial(find, catalog)),
        steps,
        read=partial(read_call, entry.manifest, objects=objects),
        write=partial(write, objects=objects),
        failure=failure,
    )


def check(entry: Entry, steps: handler.Handler) -> None:
    """Raises LoadError where the handler is not one of a pipeline."""
    if steps.preprocess is not None:
        raise LoadError(f"{entry.path}: a pipeline's {handler.FILE} may have a postprocess, and has a preprocess")
    declared = {tensor.name for tensor in entry.manifest.outputs}
    if steps.postprocess is None and declared != set(entry.manifest.results):
        raise LoadError(f"{entry.path}: without a postprocess, `results` must name the outputs {sorted(declared)}")


def find(catalog: Catalog, model: str, version: str | None) -> Manifest | None:
    try:
        return catalog.get(model, version).manifest
    except UnknownModel:
        return None


def serve(pipe: Connection, conductor: Conductor) -> None:
    """Work on jobs until the worker closes the pipe."""
    while True:
        try:
            message = stepwire.receive_down(pipe)
        except EOFError:
            return
        for answer in conductor.handle(message):
            stepwire.send(pipe, answer)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
