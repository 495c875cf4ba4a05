"""Tables scored offline: how fast beside a loop in process, how little they disturb, and how much memory they take.

python -m tests.services -- python -m bench.scoring [--only mlp,minilm,interactive,memory] [--rounds 3] [--quick]
       [--ray PYTHON] [--no-keep]

- mlp: a perceptron, 1,000,000 rows of Parquet, against the best loop of one process (and Ray Data's `map_batches`,
  where PYTHON is an interpreter that has it). Rounds alternate; each gives a ratio.
- minilm: 5,000 sentences, against the best of loops in one and in two processes.
- interactive: the latency of `normal` jobs alone, and while a scoring of the same model takes all that is left.
- memory: the peak of each process while 100,000 rows are scored and while 5,000,000 are, each on a farm of its own.

The result goes to bench/results/scoring-<date>.json, its tables into docs/performance.md.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from penstock import Penstock

from bench import machine, page, repository, systems, tables
from bench.peaks import watched
from bench.processes import ROOT
from bench.progress import say
from bench.quantiles import quantile
from bench.scoring_report import report
from bench.systems import System

#: Of the mlp: rows a call and threads that are tried in process; the best is what counts.
LOOPS = tuple((batch, threads, 1) for batch in (4096, 16384, 65536) for threads in (1, 2))
#: Of minilm: one process with two threads, and two with one.
SENTENCE_LOOPS = tuple((batch, *ways) for batch in (8, 16, 32) for ways in ((2, 1), (1, 2)))
#: Of the search for the best way.
SEARCH_SENTENCES = 600
#: Interactive jobs a second, and seconds of them.
PACE, INTERACTIVE_S = 10.0, 30.0
#: Of a scoring that runs alone.
ALONE_S = 6.0
#: The tables of the models, and rows of those that a farm begins with.
TABLES = {"mlp": tables.numbers, "minilm": tables.sentences}
FEW = {"mlp": 50_000, "minilm": 64}
PARTS = ("mlp", "interactive", "minilm", "memory")
END_S = 1800.0


class Bench:
    """One run: where its tables and models lie, and how much of everything is done."""

    def __init__(self, folder: Path, urls: dict[str, str], asked: argparse.Namespace) -> None:
        self.folder = folder
        self.urls = urls
        self.rounds = 1 if asked.quick else asked.rounds
        #: Every table is so much smaller.
        self.part = 0.1 if asked.quick else 1.0
        self.ray = asked.ray
        self.models = repository.build(repository.build(folder / "models", "mlp"), "minilm")

    def rows(self, rows: int) -> int:
        return round(rows * self.part)

    def system(self, kind: str, name: str = "") -> System:
        return systems.penstock(self.folder / f"{kind}{name}", self.models, self.urls if kind == "farm" else {})

    def beside_a_folder(self, name: str) -> System:
        """A farm whose objects lie in a folder: the S3 server of the tests holds them in memory."""
        urls = self.urls | {"PENSTOCK_OBJECTS_URL": f"file://{self.folder}/objects-{name}"}
        return systems.penstock(self.folder / name, self.models, urls)

    # -- how fast -------------------------------------------------------------------------------------------------

    def mlp(self) -> dict[str, Any]:
        table = tables.numbers(self.folder / "numbers.parquet", self.rows(1_000_000))
        best = self.best("mlp", table, LOOPS)
        return self.compared("mlp", table, self.rows(1_000_000), best)

    def minilm(self) -> dict[str, Any]:
        table = tables.sentences(self.folder / "sentences.parquet", self.rows(5_000))
        sample = tables.sentences(self.folder / "some.parquet", min(self.rows(5_000), SEARCH_SENTENCES))
        return self.compared("minilm", table, self.rows(5_000), self.best("minilm", sample, SENTENCE_LOOPS))

    def best(self, model: str, table: Path, ways: tuple[tuple[int, int, int], ...]) -> tuple[int, int, int]:
        """Rows a call, threads and processes of the quickest loop."""
        found = {way: self.loop(model, table, way) for way in ways}
        for (batch, threads, processes), seconds in found.items():
            say(f"{model} in process: {processes} x {threads} threads, {batch} rows a call: {seconds:.2f} s")
        return min(found, key=lambda way: found[way])

    def loop(self, model: str, table: Path, way: tuple[int, int, int]) -> float:
        batch, threads, processes = way
        return self.seconds(
            [sys.executable, "-m", "bench.table_loop", model, str(self.models), str(table),
             str(self.folder / "loop.parquet"), "--batch", str(batch), "--threads", str(threads),
             "--processes", str(processes)]
        )  # fmt: skip

    def seconds(self, command: list[str]) -> float:
        run = subprocess.run(
            command, cwd=ROOT, env=systems.own_environment(), check=True, capture_output=True, text=True
        )
        return float(json.loads(run.stdout.splitlines()[-1])["seconds"])

    def compared(self, model: str, table: Path, rows: int, best: tuple[int, int, int]) -> dict[str, Any]:
        """Rounds of all of them in turn."""
        few = TABLES[model](self.folder / f"few-{model}.parquet", FEW[model])
        result: dict[str, Any] = {
            "rows": rows, "loop": {"batch": best[0], "threads": best[1], "processes": best[2]}, "rounds": [],
        }  # fmt: skip
        for number in range(self.rounds):
            one: dict[str, Any] = {"loop_s": self.loop(model, table, best)}
            for kind in ("embedded", "farm"):
                system = self.system(kind, f"-{model}-{number}")
                try:
                    one[kind] = scored(system, model, table, self.folder / f"{kind}.parquet", few)
                finally:
                    system.stop()
            if self.ray and model == "mlp":
                one["ray_s"] = self.ray_seconds(table, number)
            result["rounds"].append(one)
            say(f"{model} {number + 1}/{self.rounds}: {json.dumps(one)}")
        return result

    def ray_seconds(self, table: Path, number: int) -> float | None:
        network = self.models / "mlp" / "1" / "model.onnx"
        command = [self.ray, str(ROOT / "bench" / "table_ray.py"), str(network), str(table)]
        try:
            return self.seconds([*command, str(self.folder / f"ray-{number}")])
        except subprocess.CalledProcessError as error:
            say(f"Ray Data failed: {error.stderr[-500:]}")
            return None

    # -- how little it disturbs -----------------------------------------------------------------------------------

    def interactive(self) -> dict[str, Any]:
        """For each model: latencies of `normal` jobs alone, and under a scoring that lasts longer than they do."""
        numbers = tables.numbers(self.folder / "long.parquet", self.rows(4_000_000))
        sentences = tables.sentences(self.folder / "long-sentences.parquet", self.rows(30_000))
        row = {"x": [[0.5] * tables.WIDTH]}
        found = {}
        for model, table, inputs in (
            ("mlp", numbers, row), ("minilm", sentences, {"text": ["The valve at the northern plant failed."]})
        ):  # fmt: skip
            system = self.beside_a_folder(f"interactive-{model}")
            try:
                found[model] = disturbed(system, model, table, inputs, INTERACTIVE_S * self.part)
            finally:
                system.stop()
            say(f"interactive, {model}: {json.dumps(found[model])}")
        return found

    # -- how much memory ------------------------------------------------------------------------------------------

    def memory(self) -> dict[str, Any]:
        """Peaks of each process, by rows; the objects lie in a folder, so that no server holds them in memory."""
        peaks = {}
        few = tables.numbers(self.folder / "few.parquet", FEW["mlp"])
        for rows in (self.rows(100_000), self.rows(5_000_000)):
            table = tables.numbers(self.folder / f"numbers-{rows}.parquet", rows)
            system = self.beside_a_folder(f"memory-{rows}")
            try:
                with watched(system) as peak:
                    outcome = scored(system, "mlp", table, self.folder / "memory.parquet", few)
            finally:
                system.stop()
            peaks[rows] = {name: round(value / 2**20, 1) for name, value in sorted(peak.items())}
            table.unlink()
            say(f"memory, {rows} rows, {outcome['scoring_s']:.0f} s: {json.dumps(peaks[rows])}")
        return {str(rows): peak for rows, peak in peaks.items()}


def scored(system: System, model: str, table: Path, output: Path, few: Path) -> dict[str, float]:
    """Seconds of upload, of the scoring from its acceptance to its end, and of the download.

    A farm has scored before: the table of a few rows loads its libraries, as the loop has loaded its own.
    """
    with Penstock(system.url, system.key) as client:
        warm(client, model)
        client.scorings.wait(client.scorings.create(model, client.objects.upload(few).id, format="parquet"))
        began = time.perf_counter()
        stored = client.objects.upload(table)
        sent = time.perf_counter()
        scoring = client.scorings.create(model, stored.id, format="parquet")
        scoring = client.scorings.wait(scoring, timeout_s=END_S)
        ended = time.perf_counter()
        if scoring.status != "completed" or scoring.rows.failed:
            raise RuntimeError(f"scoring ended as {scoring}")
        client.scorings.download(scoring, output)
        return {
            "upload_s": round(sent - began, 3),
            "scoring_s": round(ended - sent, 3),
            "download_s": round(time.perf_counter() - ended, 3),
        }


def warm(client: Penstock, model: str) -> None:
    client.run(model, {"x": [[0.5] * tables.WIDTH]} if model == "mlp" else {"text": ["The gate is open."]})


def disturbed(system: System, model: str, table: Path, inputs: dict[str, Any], seconds: float) -> dict[str, Any]:
    with Penstock(system.url, system.key) as client:
        warm(client, model)
        idle = latencies(client, model, inputs, seconds)
        stored = client.objects.upload(table)
        scoring = client.scorings.create(model, stored.id, format="parquet")
        while client.scorings.get(scoring).rows.done == 0:
            time.sleep(0.1)
        batch_ms = batch_time(client, model)
        busy = latencies(client, model, inputs, seconds)
        lasted = not client.scorings.get(scoring).done
        client.scorings.cancel(scoring)
    return {
        "idle": quantiles(idle), "scoring": quantiles(busy), "batch_ms": round(batch_ms, 2),
        "bound_ms": round(1.5 * batch_ms + quantile(sorted(idle), 0.99), 2), "scoring_lasted": lasted,
    }  # fmt: skip


def batch_time(client: Penstock, model: str) -> float:
    """Milliseconds of a batch of a scoring that runs alone: what is run between two looks for interactive jobs."""

    def figures() -> tuple[int, float]:
        found = client.models.get(model).raw["statistics"]
        return found["batches"], found["compute_ms"]

    before = figures()
    time.sleep(ALONE_S)
    after = figures()
    return float((after[1] - before[1]) / max(1, after[0] - before[0]))


def latencies(client: Penstock, model: str, inputs: dict[str, Any], seconds: float) -> list[float]:
    """Milliseconds of jobs sent by the clock, each waited for."""
    found, began = [], time.perf_counter()
    for turn in range(round(seconds * PACE)):
        time.sleep(max(0.0, began + turn / PACE - time.perf_counter()))
        sent = time.perf_counter()
        client.run(model, inputs)
        found.append((time.perf_counter() - sent) * 1000)
    return found


def quantiles(found: list[float]) -> dict[str, float]:
    ordered = sorted(found)
    return {
        "jobs": len(ordered),
        **{f"p{share}_ms": round(quantile(ordered, share / 100), 2) for share in (50, 95, 99)},
        "max_ms": round(ordered[-1], 2),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a tenth of everything, once; keeps nothing")
    parser.add_argument("--ray", default="", help="an interpreter that has ray[data] and onnxruntime")
    parser.add_argument("--no-keep", action="store_true")
    asked = parser.parse_args()
    urls = {name: os.environ[name] for name in systems.SERVERS.values() if name in os.environ}
    if not urls:
        print("no PENSTOCK_BROKER_URL: run it under `python -m tests.services --`", file=sys.stderr)
        return 2
    if wrong := set(asked.only.split(",")) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(wrong))}; there are {', '.join(PARTS)}")
    result = run(asked, urls)
    print(report(result))
    if not (asked.quick or asked.no_keep):
        kept = page.keep("scoring", result)
        page.put("bench.scoring", report(result))
        from bench import scoring_plot

        scoring_plot.draw(result)
        say(f"kept: {kept.relative_to(ROOT)}, docs/performance.md and its picture")
    return 0


def run(asked: argparse.Namespace, urls: dict[str, str]) -> dict[str, Any]:
    result: dict[str, Any] = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": "python -m tests.services -- python -m bench.scoring",
        "load_before": round(os.getloadavg()[0], 2),
        "machine": machine.described(),
        "versions": machine.versions(urls),
    }
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        bench = Bench(Path(folder), urls, asked)
        parts: dict[str, Callable[[], dict[str, Any]]] = {
            "mlp": bench.mlp, "minilm": bench.minilm, "interactive": bench.interactive, "memory": bench.memory,
        }  # fmt: skip
        for name in asked.only.split(","):
            result[name] = parts[name]()
    return result


if __name__ == "__main__":
    sys.exit(main())
