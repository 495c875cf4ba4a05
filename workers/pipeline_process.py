"""The process of one pipeline version: numpy, the pipeline's graph and its handler, and no model library."""

import logging
import signal
import sys
import time
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from errors import LoadError, UnknownModel
from lifeline import die_with_parent
from models import handler, pipelines
from models.catalog import Catalog, Entry
from models.manifest import Manifest
from storage.objects import open_objects
from workers import stepwire, wire
from workers.child import failure, read_call, reason_of, write
from workers.conductor import Conductor

log = logging.getLogger("penstock.pipeline")


def main(fd: int) -> int:
    die_with_parent(signal.SIGKILL)
    # As in an executor: the worker decides when this process ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pipe = Connection(fd)
    spec = wire.receive_spec(pipe)
    started = time.perf_counter()
    try:
        conductor = open_conductor(spec)
    # Whatever stops a pipeline from loading must reach the operator as its reason, not as a dead process.
    except Exception as error:
        log.exception("pipeline could not be loaded")
        stepwire.send(pipe, wire.LoadFailed(reason_of(error)))
        return 1
    stepwire.send(pipe, wire.Ready((time.perf_counter() - started) * 1000))
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
