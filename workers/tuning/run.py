"""The whole of a tuning: every setup in turn, every batch size on it."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from errors import LoadError, ManifestError
from models.catalog import Entry
from models.manifest import PIPELINE
from models.reading import FILE
from models.rewriting import Changes, rewrite
from workers.tuning.measuring import Fleet, jobs, unloaded
from workers.tuning.points import Point, Setup, best, setups
from workers.tuning.rows import one_row
from workers.tuning.variant import variant

#: Runtimes that read one another's files.
SHARED = {"onnx", "openvino"}


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be measured."""

    setups: list[Setup]
    batches: list[int]
    seconds: float
    device: str
    target_ms: float | None = None


def plan(
    entry: Entry,
    *,
    runtimes: Sequence[str],
    instances: Sequence[int],
    threads: Sequence[int],
    batches: Sequence[int],
    seconds: float,
    device: str,
    target_ms: float | None,
) -> Plan:
    """Raises ManifestError where this model cannot be tuned so."""
    manifest = entry.manifest
    if manifest.kind == PIPELINE:
        raise ManifestError(f"model {manifest.name!r} is a pipeline; tune the models that its steps run")
    for runtime in runtimes:
        if runtime != manifest.runtime and not {runtime, manifest.runtime} <= SHARED:
            raise ManifestError(
                f"runtime {runtime!r} does not read the files of {manifest.name!r} ({manifest.runtime})"
            )
    found = device or ("cpu" if "cpu" in manifest.pools else "cuda:0")
    started = setups(runtimes or [manifest.runtime], instances, threads, len(os.sched_getaffinity(0)))
    # Without rows, jobs run one by one.
    sizes = sorted(set(batches)) if manifest.rowed else [1]
    return Plan(setups=started, batches=sizes, seconds=seconds, device=found, target_ms=target_ms)


def measure(entry: Entry, plan: Plan, tell: Callable[[Point], None]) -> None:
    """Measure each point and `tell` it; raises ManifestError without an example."""
    inputs = one_row(entry.manifest)
    for setup in plan.setups:
        with variant(entry, runtime=setup.runtime, threads=setup.threads, max_items=max(plan.batches)) as repository:
            try:
                fleet = Fleet(repository, entry, setup, plan.device)
            except LoadError as error:
                for point in unloaded(setup, plan.batches, error):
                    tell(point)
                continue
            try:
                for place, size in enumerate(plan.batches):
                    point = fleet.measure(jobs(entry, inputs, size), rows=size, seconds=plan.seconds)
                    tell(point)
                    if point.reason:
                        # Larger batches would end no better, and executors may have ended with this one.
                        for larger in plan.batches[place + 1 :]:
                            tell(msgspec.structs.replace(fleet.point(larger), reason=f"batch {size}: {point.reason}"))
                        break
            finally:
                fleet.stop()


def chosen(points: Sequence[Point], plan: Plan) -> Point | None:
    return best(points, target_ms=plan.target_ms)


def write(entry: Entry, point: Point) -> Path:
    """Put the best point into the manifest that counts for this version; raises ManifestError."""
    own = entry.path / FILE
    file = own if own.is_file() else entry.path.parent / FILE
    changes: dict[tuple[str, ...], int | str] = {
        ("instances",): point.instances,
        ("threads",): point.threads,
        ("batching", "max_items"): point.batch,
    }
    if point.runtime != entry.manifest.runtime:
        changes["runtime",] = point.runtime
    rewrite(file, needed(changes, entry))
    return file


def needed(changes: Changes, entry: Entry) -> Changes:
    """Without what is so already: a default that nobody wrote stays unwritten."""
    manifest = entry.manifest
    now = {
        ("instances",): manifest.instances,
        ("threads",): manifest.threads,
        ("batching", "max_items"): manifest.batching.max_items,
    }
    return {path: value for path, value in changes.items() if now.get(path) != value}
