"""A table scored while processes and servers are killed, against the same table scored in peace.

python -m tests.crash.tables [--seeds 1-20] [--rows 200000] [--output FILE.json]

The same bytes must come out, output and errors alike, and nothing may lie about afterwards. Exit 1 where not.
"""

import argparse
import hashlib
import json
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from penstock import Penstock, Scoring

from bench import repository, tables
from tests.farm.conftest import servers
from tests.farm.harness import Farm

#: What is killed; a worker twice as often as a server. `executor` is one of the worker's children.
VICTIMS = ("worker-cpu", "executor", "orchestrator", "worker-cpu", "executor", "orchestrator", "broker", "redis")
#: Between two kills, seconds; a run has this many at most, so that it ends.
LEAST_S, MOST_S, KILLS = 0.3, 2.0, 8
#: Small shards, so that a run has about a hundred of them.
SHARD_ROWS, BATCH = 2048, 256
#: One row in so many cannot be scored: its list is too short.
BAD_EVERY = 9973
END_S = 300.0


T = TypeVar("T")


class Outcome(NamedTuple):
    output: str
    errors: str
    failed: int


class Undone(AssertionError):
    """A scoring did not end as it should."""


@contextmanager
def farm_of(folder: Path) -> Iterator[Farm]:
    """A whole farm whose one model is the perceptron, in batches so small that a table takes its time."""
    models = repository.build(folder / "models", "mlp")
    repository.change(models / "mlp" / "model.yaml", batching={"max_items": BATCH})
    farm = servers(folder, models)
    try:
        farm.start()
        farm.wait_ready()
        yield farm
    finally:
        farm.close()


def table(file: Path, rows: int) -> Path:
    """`custom_id` and the list column `x`, of which some rows are too short."""
    made = pq.read_table(tables.numbers(file.with_suffix(".whole"), rows))
    x = made.column("x").combine_chunks().cast(pa.list_(pa.float32()))
    parts, start = list[pa.Array](), 0
    for row in range(BAD_EVERY - 1, rows, BAD_EVERY):
        parts += [x.slice(start, row - start), pa.array([x[row].as_py()[:3]], x.type)]
        start = row + 1
    parts.append(x.slice(start))
    pq.write_table(pa.table({"custom_id": made.column("custom_id"), "x": pa.chunked_array(parts)}), file)
    return file


def scored(client: Penstock, object_id: str, folder: Path) -> Outcome:
    """One scoring, from its acceptance to its files."""
    scoring = client.scorings.create("mlp", object_id, format="parquet", shard_rows=SHARD_ROWS)
    done = client.scorings.wait(scoring, timeout_s=END_S)
    if done.status != "completed":
        raise Undone(f"{done.id} is {done.status}: {done.error}")
    return collected(client, done, folder)


def collected(client: Penstock, done: Scoring, folder: Path) -> Outcome:
    output, errors = folder / "output", folder / "errors"
    client.scorings.download(done, output)
    errors.write_bytes(b"")
    if done.errors is not None:
        client.objects.download(done.errors.object, errors)
    return Outcome(digest(output), digest(errors), done.rows.failed)


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


class Killer:
    """Kills and starts anew. On the main thread: what a thread has started dies with that thread."""

    def __init__(self, farm: Farm, seed: int, *, kills: int = KILLS) -> None:
        self._farm = farm
        self._kills = kills
        self._random = random.Random(seed)
        #: What was killed, in order.
        self.killed: list[str] = []

    def beside(self, work: Callable[[], T]) -> T:
        """Kill while `work` runs, and give what it gives."""
        with ThreadPoolExecutor(1) as pool:
            working = pool.submit(work)
            while len(self.killed) < self._kills:
                ended, _ = wait([working], timeout=self._random.uniform(LEAST_S, MOST_S))
                if ended:
                    break
                victim = self._random.choice(VICTIMS)
                self._kill(victim)
                self.killed.append(victim)
            return working.result()

    def _kill(self, victim: str) -> None:
        if victim == "executor":
            self._kill_executor()
        elif victim in self._farm.services:
            self._farm.services[victim].kill()
            self._farm.services[victim].start()
        else:
            self._farm.kill(victim)
            self._farm.start(victim)

    def _kill_executor(self) -> None:
        worker = psutil.Process(self._farm.processes["worker-cpu"].pid)
        executors = [child for child in worker.children() if is_executor(child)]
        if executors:
            # It may end by itself first.
            with suppress(psutil.NoSuchProcess):
                self._random.choice(executors).send_signal(signal.SIGKILL)


def is_executor(process: psutil.Process) -> bool:
    try:
        return "workers.child" in " ".join(process.cmdline())
    # One that was killed before, and that nobody has waited for yet.
    except psutil.NoSuchProcess:
        return False


def left_over(farm: Farm) -> list[str]:
    """What should not be there once every scoring has ended."""
    depths = farm.jobs.depths(farm.jobs.queues())
    return [f"{sum(depths)} jobs wait"] if any(depths) else []


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash.tables", description=__doc__)
    parser.add_argument("--seeds", default="1-20")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    first, _, last = asked.seeds.partition("-")
    seeds, runs, failures = range(int(first), int(last or first) + 1), list[dict[str, object]](), list[str]()
    with tempfile.TemporaryDirectory(prefix="penstock-") as name, farm_of(Path(name)) as farm:
        folder = Path(name)
        with Penstock(farm.url, farm.key, retry_for_s=END_S) as client:
            stored = client.objects.upload(table(folder / "table.parquet", asked.rows)).id
            began = time.monotonic()
            peace = scored(client, stored, folder)
            print(f"in peace: {time.monotonic() - began:.1f} s, {peace.failed} rows failed", flush=True)
            for seed in seeds:
                killer, began = Killer(farm, seed), time.monotonic()
                try:
                    found = killer.beside(partial(scored, client, stored, folder))
                    if found != peace:
                        failures.append(f"seed {seed}: {found} is not {peace}")
                except Exception as error:  # noqa: BLE001 - a campaign tells of every seed
                    failures.append(f"seed {seed}: {error!r}")
                seconds = round(time.monotonic() - began, 1)
                runs.append({"seed": seed, "killed": killer.killed, "seconds": seconds})
                print(json.dumps(runs[-1]), *failures[-1:], flush=True)
            failures += left_over(farm)
    counted = {"rows": asked.rows, "failed_rows": peace.failed, "runs": runs, "failures": failures}
    if asked.output:
        asked.output.write_text(json.dumps(counted, indent=2) + "\n")
    print(f"{len(runs)} runs, {sum(len(run['killed']) for run in runs)} kills, {len(failures)} failures")  # type: ignore
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
