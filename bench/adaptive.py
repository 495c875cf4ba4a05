"""What `target_ms` does, on a model whose cost is known: batch sizes and latencies with and without it.

python -m bench.adaptive [--seconds 6] [--rounds 3] [--no-keep]

The real batcher, sizing and executor process, without broker and store. The model takes 10 ms a batch and 2 ms a row.
Jobs arrive at random (Poisson), one in twenty of priority `high`. Rounds alternate; medians are shown. The
result goes to bench/results/adaptive-<date>.json, table and picture into docs/batching.md.
"""

import argparse
import random
import statistics
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import msgspec

from bench import machine, page
from bench.processes import ROOT
from bench.progress import say
from bench.quantiles import quantile
from tasks.message import VERSION, Message
from workers import wire
from workers.batcher import Batcher, Limits
from workers.executor import Executor
from workers.sizing import Sizing

matplotlib.use("Agg")

from matplotlib import pyplot as plt  # the backend is chosen before

BATCH_MS, ROW_MS = 10.0, 2.0
MAX_ITEMS = 64
TARGET_MS = 50.0
#: Jobs a second; the model does 464 in batches of 64, 400 in batches that take 50 ms.
RATES = (50, 150, 250, 350, 600)
HIGH_SHARE = 0.05
PAGE, PICTURE = ROOT / "docs" / "batching.md", ROOT / "docs" / "batching.png"

MANIFEST = f"""\
name: known
runtime: python
inputs: [{{name: x, datatype: INT64, shape: [-1]}}]
outputs: [{{name: x, datatype: INT64, shape: [-1]}}]
batching: {{max_items: {MAX_ITEMS}}}
"""
HANDLER = f"""\
import time

class Model:
    def load(self, device):
        pass

    def predict(self, batch):
        time.sleep(({BATCH_MS} + {ROW_MS} * len(batch["x"])) / 1000)
        return {{"x": batch["x"]}}
"""
BODY = Message(v=VERSION, id="job", model="known", version="1", inputs=msgspec.Raw(b'{"x": 1}')).encode()


class Job:
    rows = weight = 1
    likeness = ""
    start_by_ms = 0

    def __init__(self, lane: str) -> None:
        self.lane = lane
        self.arrived_s = time.monotonic()
        self.done_s = 0.0


class Batch(NamedTuple):
    rows: int
    ms: float
    done_s: float


class Run:
    """One rate, with or without a target, for some seconds."""

    def __init__(self, executor: Executor, target_ms: float | None) -> None:
        self.executor = executor
        self.batcher: Batcher[Job] = Batcher(Limits(MAX_ITEMS))
        self.sizing = Sizing(self.batcher, target_ms=target_ms)
        self.jobs: list[Job] = []
        self.batches: list[Batch] = []

    def measure(self, rate: float, seconds: float, dice: random.Random) -> dict[str, float]:
        worker = threading.Thread(target=self.work)
        worker.start()
        began = due = time.monotonic()
        while due < began + seconds:
            time.sleep(max(0.0, due - time.monotonic()))
            job = Job("high" if dice.random() < HIGH_SHARE else "normal")
            self.jobs.append(job)
            self.batcher.put(job.lane, job)
            due += dice.expovariate(rate)
        self.batcher.close()
        worker.join()
        # The first second finds out what a batch costs.
        settled = [job for job in self.jobs if job.done_s and job.arrived_s > began + 1]
        return figures(settled, [batch for batch in self.batches if batch.done_s > began + 1], took_s=seconds - 1)

    def work(self) -> None:
        while batch := self.batcher.take():
            done = self.executor.run([wire.Item("job", 1, BODY)] * len(batch), timeout_s=60)
            now = time.monotonic()
            for job in batch:
                job.done_s = now
            self.sizing.after(batch, done)
            self.batches.append(Batch(len(batch), done.busy_ms, now))


def figures(jobs: list[Job], batches: list[Batch], *, took_s: float) -> dict[str, float]:
    waits = sorted((job.done_s - job.arrived_s) * 1000 for job in jobs)
    urgent = sorted((job.done_s - job.arrived_s) * 1000 for job in jobs if job.lane == "high")
    times = sorted(batch.ms for batch in batches)
    return {
        "jobs_per_s": len(jobs) / took_s,
        "rows": statistics.mean(batch.rows for batch in batches),
        "batch_p50_ms": quantile(times, 0.5),
        "batch_p95_ms": quantile(times, 0.95),
        "over_by_5_percent": sum(ms > TARGET_MS * 1.05 for ms in times) / len(times),
        "p50_ms": quantile(waits, 0.5),
        "p99_ms": quantile(waits, 0.99),
        "high_p99_ms": quantile(urgent, 0.99),
    }


def measured(rounds: int, seconds: float) -> list[dict[str, Any]]:
    found: dict[tuple[float, float | None], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        executor = Executor(spec(Path(folder)), threads=1)
        executor.load()
        for number in range(rounds):
            for rate in RATES:
                for target in (None, TARGET_MS):
                    one = Run(executor, target).measure(rate, seconds, random.Random(number))
                    found.setdefault((rate, target), []).append(one)
                    say(f"{rate} jobs/s, target {target}: {one['rows']:.1f} rows, p95 {one['batch_p95_ms']:.0f} ms")
        executor.stop()
    return [
        {"rate": rate, "target_ms": target, **{name: statistics.median(one[name] for one in runs) for name in runs[0]}}
        for (rate, target), runs in found.items()
    ]


def spec(folder: Path) -> wire.Spec:
    home = folder / "models" / "known"
    (home / "1").mkdir(parents=True)
    (home / "model.yaml").write_text(MANIFEST)
    (home / "handler.py").write_text(HANDLER)
    return wire.Spec(str(home.parent), "known", "1", "cpu:0", (folder / "objects").as_uri())


def table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| offered jobs/s | target | rows a batch | batch p50, p95 ms | over 52.5 ms | done jobs/s | p50, p99 ms "
        "| `high` p99 ms |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {row['rate']} | {'50 ms' if row['target_ms'] else 'none'} | {row['rows']:.1f} "
        f"| {row['batch_p50_ms']:.0f}, {row['batch_p95_ms']:.0f} | {row['over_by_5_percent']:.1%} "
        f"| {row['jobs_per_s']:.0f} | {row['p50_ms']:.0f}, {row['p99_ms']:.0f} | {row['high_p99_ms']:.0f} |"
        for row in rows
    ]
    return "\n".join(lines)


def draw(rows: list[dict[str, Any]]) -> None:
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    shown = (("rows", "rows a batch"), ("batch_p95_ms", "batch p95, ms"), ("high_p99_ms", "`high` p99, ms"))
    for axis, (name, label) in zip(axes, shown, strict=True):
        for target, colour in ((None, "#c0602b"), (TARGET_MS, "#0b6e99")):
            own = [row for row in rows if row["target_ms"] == target]
            legend = f"target_ms: {target:g}" if target else "no target"
            axis.plot([row["rate"] for row in own], [row[name] for row in own], "o-", color=colour, label=legend)
        axis.set_xlabel("offered jobs/s")
        axis.set_ylabel(label)
        axis.set_ylim(bottom=0)
    axes[1].axhline(TARGET_MS, color="grey", linestyle=":")
    axes[0].legend()
    figure.savefig(PICTURE, dpi=110)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-keep", action="store_true")
    asked = parser.parse_args()
    rows = measured(asked.rounds, asked.seconds)
    print(table(rows))
    if asked.no_keep:
        return
    when = datetime.now(UTC).isoformat(timespec="seconds")
    about = machine.described()
    page.keep("adaptive", {"when": when, "machine": about, "rounds": asked.rounds, "rows": rows})
    taken = f"{about['processor']}, {about['cores']} cores, {when[:10]}; medians of {asked.rounds} alternating rounds."
    page.put("bench.adaptive", f"{table(rows)}\n\n{taken}", PAGE)
    draw(rows)


if __name__ == "__main__":
    main()
