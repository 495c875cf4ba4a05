"""Penstock, embedded and on its servers, beside the model in process and a plain Celery + Flask app: `make bench`, or

python -m tests.services -- python -m bench.farm [--quick] [--only echo,minilm] [--rounds N] [--no-keep]

Rounds alternate between all of them, so that whatever else the machine does meets each. The result goes to
bench/results/, its tables into docs/performance.md, its plots beside that. `--quick` keeps nothing.
"""

import argparse
import os
import signal
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from bench import machine, page, report, systems
from bench.measuring import Bench
from bench.plan import Plan, plan
from bench.processes import ROOT
from bench.progress import say


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two minutes; keeps nothing")
    parser.add_argument("--only", default="", help="workloads, separated by commas")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-keep", action="store_true", help="print the tables only")
    asked = parser.parse_args()
    try:
        planned = plan(only=asked.only.split(",") if asked.only else (), rounds=asked.rounds, quick=asked.quick)
    except ValueError as error:
        parser.error(str(error))
    urls = {name: os.environ[name] for name in systems.SERVERS.values() if name in os.environ}
    if not urls:
        print("no PENSTOCK_BROKER_URL: run it as `make bench`, which starts the servers", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, interrupt)
    try:
        result = run(planned, urls)
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


def run(planned: Plan, urls: dict[str, str]) -> dict[str, Any]:
    """Everything measured, as it is written to bench/results/."""
    load = round(os.getloadavg()[0], 2)
    say(f"load of the machine before: {load}")
    result: dict[str, Any] = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": "make bench",
        "load_before": load,
        "rounds": planned.rounds,
        "machine": machine.described(),
        "versions": machine.versions(urls),
        "import_s": systems.import_seconds(),
        "workloads": {},
    }
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        for workload in planned.workloads:
            bench = Bench(workload, planned, Path(name) / workload.name, urls)
            result["workloads"][workload.name] = bench.run()
    return result


def keep(result: dict[str, Any]) -> None:
    """Write the result, and the page and the pictures that are made from it."""
    from bench import plot

    path = page.keep("", result)
    report.write(result)
    plot.draw(result)
    say(f"kept: {path.relative_to(ROOT)}, docs/performance.md and its plots")


if __name__ == "__main__":
    sys.exit(main())
