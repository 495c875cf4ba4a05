"""The executor's process: loads one model, says ready, then only runs the batches that come down its pipe."""

import logging
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar

import msgspec

import logs
from errors import InvalidInput, ModelError, PenstockError
from lifeline import die_with_parent
from models import cache
from models.arrays import Batch, decode
from models.catalog import Catalog
from models.ceiling import OPEN
from models.loading import LoadedModel, load
from models.manifest import Manifest
from models.outputs import encode
from models.running import Call, Spent
from settings import Settings
from storage.objects import Objects, open_objects
from tasks import message as messages
from workers import wire
from workers.given import inputs_of
from workers.owned import fetch
from workers.shards import Shards
from workers.tensors import pack
from workers.wire import failure

log = logging.getLogger("penstock.executor")

#: Outputs above this go to the object store, bytes of JSON.
INLINE_BYTES = 64 * 1024

T = TypeVar("T")


def main(fd: int) -> int:
    begun = begin(fd, open_all)
    if begun is None:
        return 1
    pipe, _, (model, objects), load_ms = begun
    wire.send(pipe, wire.Ready(load_ms, reshapes=model.handler.preprocess is not None))
    serve(pipe, model, objects)
    return 0


def begin(fd: int, open_: Callable[[wire.Spec], T]) -> tuple[Connection, wire.Spec, T, float] | None:
    """Pipe, order, what `open_` has made of it, and the milliseconds that took; None: it could not, which is told."""
    die_with_parent(signal.SIGKILL)
    # The terminal's Ctrl-C and the runner's SIGTERM go to the whole group; the worker decides when this process ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # A traceback of a model's may hold what a client sent.
    logs.configure(Settings.from_env(os.environ), "executor")
    pipe = Connection(fd)
    spec = wire.receive_spec(pipe)
    started = time.perf_counter()
    try:
        found = open_(spec)
    # Whatever stops a model from loading must reach the operator as its reason, not as a dead process.
    except Exception as error:
        log.exception("model could not be loaded")
        wire.send(pipe, wire.LoadFailed(reason_of(error)))
        return None
    return pipe, spec, found, (time.perf_counter() - started) * 1000


def reason_of(error: Exception) -> str:
    return error.detail if isinstance(error, PenstockError) else f"{type(error).__name__}: {error}"


def open_all(spec: wire.Spec) -> tuple[LoadedModel, Objects]:
    """All that a batch needs: what is opened after the word that it is ready counts as the first batch's time."""
    return open_model(spec), open_objects(spec.objects_url)


def open_model(spec: wire.Spec) -> LoadedModel:
    """Load and warm up; raises LoadError, ManifestError or whatever the model's own code raises."""
    if spec.cache:
        cache.keep_in(Path(spec.cache))
    entry = Catalog.load(Path(spec.repository)).get(spec.model, spec.version)
    # Only this process's own device is visible to it, as number 0.
    model = load(entry, "cuda:0" if spec.device.startswith("cuda") else "cpu")
    model.warm_up()
    return model


def serve(pipe: Connection, model: LoadedModel, objects: Objects) -> None:
    """Run batches and slices of shards until the worker closes the pipe."""
    shards = Shards(model, objects)
    while True:
        try:
            order = wire.receive_order(pipe)
        except EOFError:
            return
        wire.send(pipe, shards.run(order) if isinstance(order, wire.Slice) else run_batch(model, order, objects))


def run_batch(model: LoadedModel, batch: wire.Batch, objects: Objects) -> wire.Done:
    """One outcome for each job, in order; one job's bad input or output is its own."""
    started = time.perf_counter()
    calls = [attempt(partial(read_call, model.manifest, item, objects)) for item in batch.items]
    good = [call for call in calls if isinstance(call, Call)]
    read = time.perf_counter()
    outcomes = iter(model.run(good)) if good else iter(())
    spent = model.spent if good else Spent(0.0, 0.0, 0.0)
    ran = time.perf_counter()
    results = []
    for item, call in zip(batch.items, calls, strict=True):
        outcome = next(outcomes) if isinstance(call, Call) else call
        if isinstance(outcome, PenstockError):
            results.append(failure(outcome))
        else:
            written = attempt(partial(write, outcome, item, objects))
            results.append(failure(written) if isinstance(written, PenstockError) else written)
    written_ms = (time.perf_counter() - ran) * 1000
    return wire.Done(
        results,
        decode_ms=(read - started) * 1000 + spent.prepare_ms,
        compute_ms=spent.compute_ms,
        encode_ms=spent.finish_ms + written_ms,
        ceiling=model.ceiling.most if model.ceiling.most < OPEN else 0,
    )


def attempt(step: Callable[[], T]) -> T | PenstockError:
    try:
        return step()
    except PenstockError as error:
        return error
    # One job's trouble, whatever it is, must not end the process that holds its neighbours.
    except Exception as error:
        log.exception("job could not be read or written")
        return ModelError(f"{type(error).__name__}: {error}")


def read_call(manifest: Manifest, item: wire.Item, objects: Objects) -> Call:
    """A job's inputs, references resolved; raises InvalidInput or ObjectsUnavailable."""
    if item.tensors is not None:
        return Call(inputs_of(manifest, item.tensors), msgspec.json.decode(item.parameters))
    message = messages.decode(item.body)
    if message.shard is not None:
        raise InvalidInput(manifest.unscorable or "rows of a shard do not run beside jobs")
    try:
        inputs = msgspec.json.decode(message.inputs)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"the inputs are not JSON: {error}") from error
    if not isinstance(inputs, dict):
        raise InvalidInput("`inputs` must be an object that maps input names to values")
    return Call(decode(manifest, inputs, partial(fetch, objects, message.tenant)), message.parameters)


def write(outputs: Batch, item: wire.Item, objects: Objects) -> wire.Result:
    """A job's outputs as JSON: inline when small, else as an object that no other attempt writes; or as tensors."""
    if item.raw:
        return wire.Result(tensors=pack(outputs))
    text = encode(outputs)
    if len(text) <= INLINE_BYTES:
        return wire.Result(outputs=text)
    tenant = item.tenant or messages.decode(item.body).tenant
    # The token alone would not do: a record that was lost and made anew counts its attempts anew.
    key = f"{tenant}/jobs/{item.id}/out/{item.token}-{uuid.uuid4().hex[:12]}"
    objects.put(key, [text])
    return wire.Result(outputs_key=key)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
