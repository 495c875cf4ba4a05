"""The load generator: `python -m bench.load MODE WORKLOAD.json URL --clients N --seconds S`; prints one JSON object.

A process of its own, whose CPU and memory are part of what it reports. Modes are described in `bench.sessions`.
"""

import argparse
import gc
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

from bench.clients import Clients, LoadError, Target
from bench.sessions import MODES, Sessions
from bench.timing import Log

#: One row of the echo.
ROW = [float(number) / 4 for number in range(16)]


def measure(
    mode: str, workload: dict[str, Any], url: str, *, key: str, clients: int, ramp_s: float, seconds: float
) -> dict[str, float]:
    """What came of it; `all_jobs` counts those outside of the window too, for whoever divides a cost by them."""
    target = Target(url, key)
    sessions = Sessions(target, workload, mode)
    # Nothing here makes cycles, and a collection would show up as latency.
    gc.disable()
    cpu_s = time.process_time()
    log = Log(ramp_s=ramp_s, seconds=seconds)
    Clients(target.address, sessions.make(clients, log)).run(ramp_s + seconds)
    cpu_s = time.process_time() - cpu_s
    return {
        **log.figures(),
        "all_jobs": log.jobs,
        "load_cpu_s": cpu_s,
        "load_cpu_share": cpu_s / (time.perf_counter() - log.began_s),
        "load_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=MODES)
    parser.add_argument("workload", type=Path, help="a file that bench.workloads has written")
    parser.add_argument("url")
    parser.add_argument("--key", default="")
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--ramp", type=float, default=0.5, help="seconds before it counts")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--bodies", type=int, help="of a burst, instead of the workload's number")
    asked = parser.parse_args()
    workload = json.loads(asked.workload.read_text())
    if asked.bodies:
        workload["bodies"] = asked.bodies
    try:
        seen = measure(
            asked.mode, workload, asked.url,
            key=asked.key, clients=asked.clients, ramp_s=asked.ramp, seconds=asked.seconds,
        )  # fmt: skip
    except (LoadError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(seen))
    return 0


if __name__ == "__main__":
    sys.exit(main())
