"""Penstock beside a plain Celery + Flask app of the same job, in one run: `make bench`, or

python -m tests.services -- python -m bench.farm [--quick] [--rounds N] [--seconds S] [--no-keep]

Rounds alternate between the two, so that whatever else the machine does meets both; Penstock embedded follows.
The result goes to bench/results/, its table into docs/performance.md. `--quick` keeps neither.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from bench import machine, report, systems
from bench.processes import ROOT, costs
from bench.systems import System

CONCURRENCIES = (1, 16, 64)
MODES = {"penstock": ("wait", "poll"), "embedded": ("wait", "poll"), "plain": ("plain",)}
#: Of the servers that Penstock is given, the variables that name them.
URLS = ("PENSTOCK_BROKER_URL", "PENSTOCK_REDIS_URL", "PENSTOCK_OBJECTS_URL")
WARM_UP_S = 1.0


class Plan(NamedTuple):
    rounds: int
    seconds: float
    concurrencies: tuple[int, ...]
    #: Run Penstock embedded as well.
    embedded: bool


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="half a minute; keeps nothing")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--no-keep", action="store_true", help="print the table only")
    asked = parser.parse_args()
    plan = Plan(asked.rounds, asked.seconds, CONCURRENCIES, embedded=True)
    if asked.quick:
        plan = Plan(1, 1.5, (1, 64), embedded=False)
    urls = {name: os.environ[name] for name in URLS if name in os.environ}
    if not urls:
        print("no PENSTOCK_BROKER_URL: run it as `make bench`, which starts the servers", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, interrupt)
    try:
        result = run(plan, urls)
    except KeyboardInterrupt:
        return 130
    except systems.StartError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    print(report.text(result))
    if not (asked.quick or asked.no_keep):
        keep(result)
    return 0


def interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def run(plan: Plan, urls: dict[str, str]) -> dict[str, Any]:
    """Everything measured, as it is written to bench/results/."""
    say(f"load of the machine before: {os.getloadavg()[0]:.2f}")
    result: dict[str, Any] = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": "make bench",
        "load_before": round(os.getloadavg()[0], 2),
        "rounds": plan.rounds,
        "seconds": plan.seconds,
        "machine": machine.described(),
        "versions": machine.versions(urls),
        "import_s": systems.import_seconds(),
        "cells": [],
    }
    say("importing the gateway: " + ", ".join(f"{second:.2f}" for second in result["import_s"]) + " s")
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        folder = Path(name)
        models = systems.repository(folder / "models")
        result["cells"] += rounds(
            plan,
            [
                lambda: systems.penstock(folder / "penstock", models, urls),
                lambda: systems.plain(folder / "plain", urls),
            ],
        )
        if plan.embedded:
            result["cells"] += rounds(plan, [lambda: systems.penstock(folder / "embedded", models, {})])
    return result


def rounds(plan: Plan, starts: Iterable[Callable[[], System]]) -> list[dict[str, Any]]:
    """Start the systems, measure them in turn, end them."""
    cells = []
    with ExitStack() as ending:
        running = []
        for start in starts:
            running.append(start())
            ending.callback(running[-1].stop)
        for system in running:
            say(f"{system.name} is up")
            for mode in MODES[system.name]:
                load(system, mode, max(plan.concurrencies), WARM_UP_S)
        for number in range(1, plan.rounds + 1):
            for concurrency in plan.concurrencies:
                for system in running:
                    for mode in MODES[system.name]:
                        cell = measured(system, mode, concurrency, plan.seconds)
                        cells.append({"round": number, **cell})
                        say(report.line(number, plan.rounds, cell))
    return cells


def measured(system: System, mode: str, concurrency: int, seconds: float) -> dict[str, Any]:
    """One measurement: what the clients saw, and what each process took for a job."""
    before = costs(system.pids)
    seen = load(system, mode, concurrency, seconds)
    after = costs(system.pids)
    jobs = seen["all_jobs"]
    cpu_ms = {name: (cost.cpu_s - before[name].cpu_s) * 1000 / jobs for name, cost in after.items() if name in before}
    return {
        "system": system.name,
        "mode": mode,
        "concurrency": concurrency,
        **seen,
        "cpu_ms": {**cpu_ms, "load": seen["load_cpu_s"] * 1000 / jobs},
        "rss_mb": {name: cost.rss / 2**20 for name, cost in after.items()},
    }


def load(system: System, mode: str, concurrency: int, seconds: float) -> dict[str, float]:
    """Run the load generator in a process of its own; raises StartError with its last words."""
    command = [
        sys.executable, "-m", "bench.load", mode, system.url, "--key", system.key,
        "--concurrency", str(concurrency), "--seconds", str(seconds),
    ]  # fmt: skip
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            output, errors = process.communicate()
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise systems.StartError(f"{system.name} {mode}: {errors.strip().splitlines()[-1:]}")
    seen: dict[str, float] = json.loads(output)
    return seen


def keep(result: dict[str, Any]) -> None:
    """Write the result, and the page and the pictures that are made from it."""
    from bench import plot

    path = ROOT / "bench" / "results" / f"{result['when'][:10]}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    report.write(result)
    plot.draw(result)
    say(f"kept: {path.relative_to(ROOT)}, docs/performance.md")


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
