"""Rows pushed straight to RabbitMQ and collected, against the same rows submitted to the gateway.

python -m tests.services -- python -m bench.pushing [--rows 10000] [--rounds 3] [--no-keep]

Rows of 16 floats through `echo`, each way in turn: `penstock.push` with 256 rows in a message, collected from answers
and from the jobs' records; with a row in each message; and by `client.map`, a job of one row each through the gateway.
Every row that comes back is compared. The result goes to bench/results/pushing-<date>.json, its table into
docs/performance.md.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import penstock
from penstock import Penstock

from bench import machine, page, repository, systems
from bench.processes import costs
from bench.progress import say
from bench.systems import System
from bench.worker import URLS

#: A way gives each row's outputs, in order.
Way = Callable[[System, dict[str, str], int], Iterator[Any]]


def table(rows: int) -> Iterator[dict[str, list[float]]]:
    return ({"x": [float(number)] * 16} for number in range(rows))


def pushed(urls: dict[str, str], rows: int, *, shard_rows: int, records: bool) -> Iterator[Any]:
    redis = urls["PENSTOCK_REDIS_URL"] if records else None
    found = penstock.push(
        "echo", table(rows), version="1", broker=urls["PENSTOCK_BROKER_URL"], redis=redis, tenant="bench",
        shard_rows=shard_rows,
    )  # fmt: skip
    return (row.outputs["y"] if row.outputs else row.error for row in found)


def mapped(system: System, rows: int) -> Iterator[Any]:
    with Penstock(system.url, system.key) as client:
        yield from (found["y"][0] for found in client.map("echo", table(rows), concurrency=1000))


WAYS: dict[str, Way] = {
    "pushed, 256 rows a message, from answers": lambda _, urls, n: pushed(urls, n, shard_rows=256, records=False),
    "pushed, 256 rows a message, from records": lambda _, urls, n: pushed(urls, n, shard_rows=256, records=True),
    "pushed, a row a message, from answers": lambda _, urls, n: pushed(urls, n, shard_rows=1, records=False),
    "pushed, a row a message, from records": lambda _, urls, n: pushed(urls, n, shard_rows=1, records=True),
    "`client.map`: a row a job, by the gateway": lambda system, _, n: mapped(system, n),
}


def timed(way: Way, system: System, urls: dict[str, str], rows: int) -> dict[str, float]:
    """Rows a second, and CPU milliseconds a row, of all processes but this one and of this one."""
    before, own_before, began_s = costs(system.pids), time.process_time(), time.perf_counter()
    wrong = sum(found != row["x"] for found, row in zip(way(system, urls, rows), table(rows), strict=True))
    took_s = time.perf_counter() - began_s
    if wrong:
        raise RuntimeError(f"{wrong} of {rows} rows came back wrong")
    spent = sum(cost.cpu_s - before[name].cpu_s for name, cost in costs(system.pids).items() if name in before)
    own = time.process_time() - own_before
    return {"rate": rows / took_s, "farm_ms": spent * 1000 / rows, "client_ms": own * 1000 / rows}


def measure(folder: Path, urls: dict[str, str], rows: int, rounds: int) -> dict[str, Any]:
    system = systems.penstock(folder / "farm", repository.build(folder / "models", "echo"), urls)
    try:
        for way in WAYS.values():
            timed(way, system, urls, 200)
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
        for number in range(rounds):
            for name, way in WAYS.items():
                runs[name].append(timed(way, system, urls, rows))
                say(f"round {number + 1}, {name}: {runs[name][-1]['rate']:,.0f} rows/s")
        return {"rows": rows, "runs": runs}
    finally:
        system.stop()


def report(result: dict[str, Any]) -> str:
    lines = ["| way | rows/s (each round) | CPU ms a row: farm | its client |", "| --- | --- | ---: | ---: |"]
    for name, runs in result["runs"].items():
        rates = ", ".join(f"{run['rate']:,.0f}" for run in runs)
        farm, own = (median(run[key] for run in runs) for key in ("farm_ms", "client_ms"))
        lines.append(f"| {name} | {rates} | {farm:.3f} | {own:.3f} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-keep", action="store_true", help="print the table only")
    asked = parser.parse_args()
    urls = {name: os.environ[name] for name in URLS if name in os.environ}
    if not urls:
        print("no PENSTOCK_BROKER_URL: run it under `python -m tests.services --`", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        load = os.getloadavg()[0]
        try:
            result = measure(Path(name), urls, asked.rows, asked.rounds)
        except (systems.StartError, RuntimeError, OSError) as error:
            print(error, file=sys.stderr)
            return 1
    print(report(result))
    if not asked.no_keep:
        when, about = datetime.now(UTC).isoformat(timespec="seconds"), machine.described()
        page.keep("pushing", {"when": when, "machine": about, "versions": machine.versions(urls), **result})
        where = f"{about['processor']}, {about['cores']} cores, load before {load:.1f}"
        taken = f"{asked.rows:,} rows each. {where}, {when[:10]}."
        page.put("bench.pushing", f"{report(result)}\n\n{taken}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
