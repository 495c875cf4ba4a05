"""What the machine gives in process: the model's library in a loop, in N processes of T threads, B rows a call.

python -m bench.ceiling WORKLOAD MODELS --instances N --threads T --batches 1,8 --seconds S

prints a JSON list, one object for each number of rows. No queue, no HTTP, no JSON: sentences, arrays and rows lie in
memory as the library takes them, in the order in which clients send them. Tokenising and padding are part of it.
"""

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from bench.quantiles import quantile

#: Calls before the clock runs.
WARM_UP_CALLS = 3
#: Seconds that the processes wait for each other.
TOGETHER_S = 60.0
#: What libraries read when they are imported.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TOKENIZERS_PARALLELISM")


@dataclass(frozen=True)
class Found:
    """One way of running the model, and what came of it."""

    instances: int
    threads: int
    #: Rows in one call.
    batch: int
    rows_per_s: float
    #: Of one call.
    p50_ms: float
    p99_ms: float
    cpu_ms_per_row: float


@dataclass(frozen=True)
class Part:
    """What one process did."""

    rows: int
    elapsed_s: float
    cpu_s: float
    calls_s: list[float]


def measure(
    name: str, models: Path, *, instances: int, threads: int, batches: Sequence[int], seconds: float
) -> list[Found]:
    """Run `instances` processes at once, for each number of rows in turn."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(instances)
    for variable in THREAD_VARIABLES:
        os.environ[variable] = str(threads) if variable.endswith("THREADS") else "false"
    arguments = (name, models, threads, tuple(batches), seconds)
    with context.Pool(instances, initializer=share, initargs=(barrier,)) as pool:
        # One call a process: each waits for the others before its first.
        parts = pool.starmap(run, [arguments] * instances, chunksize=1)
    return [found(instances, threads, batch, [part[place] for part in parts]) for place, batch in enumerate(batches)]


def found(instances: int, threads: int, batch: int, parts: list[Part]) -> Found:
    calls = sorted(call for part in parts for call in part.calls_s)
    return Found(
        instances, threads, batch,
        rows_per_s=sum(part.rows / part.elapsed_s for part in parts),
        p50_ms=quantile(calls, 0.5) * 1000,
        p99_ms=quantile(calls, 0.99) * 1000,
        cpu_ms_per_row=sum(part.cpu_s for part in parts) * 1000 / sum(part.rows for part in parts),
    )  # fmt: skip


class Together:
    """What the processes share."""

    barrier: Barrier


def share(barrier: Barrier) -> None:
    Together.barrier = barrier


def run(name: str, models: Path, threads: int, batches: Sequence[int], seconds: float) -> list[Part]:
    """In a process of its own: load, and for each number of rows start together with the others."""
    from bench.plain.models import load
    from bench.workloads import WORKLOADS, rows_of

    model = load(name, models / name / "1", threads)
    rows = cycle(rows_of(WORKLOADS[name], models))
    parts = []
    for batch in batches:
        for _ in range(WARM_UP_CALLS):
            model.predict(list(islice(rows, batch)))
        Together.barrier.wait(TOGETHER_S)
        parts.append(loop(model, rows, batch, seconds))
    return parts


def loop(model: Any, rows: Any, batch: int, seconds: float) -> Part:
    calls, cpu_s, began = [], time.process_time(), time.perf_counter()
    now = began
    while now < began + seconds:
        model.predict(list(islice(rows, batch)))
        before, now = now, time.perf_counter()
        calls.append(now - before)
    return Part(len(calls) * batch, now - began, time.process_time() - cpu_s, calls)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workload")
    parser.add_argument("models", type=Path)
    parser.add_argument("--instances", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batches", type=lambda text: [int(word) for word in text.split(",")], default=[1])
    parser.add_argument("--seconds", type=float, default=1.0)
    asked = parser.parse_args()
    seen = measure(
        asked.workload, asked.models,
        instances=asked.instances, threads=asked.threads, batches=asked.batches, seconds=asked.seconds,
    )  # fmt: skip
    print(json.dumps([asdict(one) for one in seen]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
