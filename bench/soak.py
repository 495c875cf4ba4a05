"""Hours of steady load, and a burst: what grows, and how too much is answered.

python -m tests.services -- python -m bench.soak [--minutes 30] [--share 0.7] [--burst 10] [--no-keep]

First the farm's capacity is found (echo, `Prefer: wait`, as many clients as there are); then jobs come at that share of
it, by the clock and not as answers come, and the memory of each process is looked at every five seconds; then for
twenty seconds at so many times that rate, without waiting, into a lane that holds 2,000. The slope is that of a line
through the samples behind the first fifth. The result goes to bench/results/soak-<date>.json, its table into
docs/guarantees.md.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from bench import machine, page, repository, systems
from bench.clients import Clients, LoadError, Session, Target
from bench.load import ROW
from bench.processes import ROOT, costs
from bench.progress import say
from bench.systems import System
from bench.worker import URLS
from storage.connection import connect

CLIENTS = 64
#: Connections of the burst.
BURST_CLIENTS = 256
CAPACITY_S, BURST_S = 15.0, 20.0
SAMPLE_S = 5.0
#: Part of the samples that is left out: pools fill, caches warm up.
SETTLING = 0.2
#: Jobs that the lane holds.
QUEUE = 2_000
#: Results are erased during the run already, as they are in the long run.
RESULT_TTL_S = 60
PAGE = ROOT / "docs" / "guarantees.md"
BODY = json.dumps({"model": "echo", "inputs": {"x": [ROW]}, "result_ttl_s": RESULT_TTL_S}).encode()
WAIT = "Prefer: wait=30\r\n"


class Load:
    """Requests at a rate, by the clock; counts what they are answered."""

    def __init__(self, url: str, key: str) -> None:
        self.target = Target(url, key)
        self.statuses: Counter[int] = Counter()

    def run(self, clients: int, rate: float, seconds: float, headers: str = "") -> float:
        """Send for so many seconds; returns the rate that it came to. `rate` 0: as fast as answers come."""
        before, began = self.statuses.total(), time.perf_counter()
        sessions = [self.session(began, number, clients, rate, seconds, headers) for number in range(clients)]
        Clients(self.target.address, sessions).run(seconds)
        return (self.statuses.total() - before) / (time.perf_counter() - began)

    def session(self, began: float, number: int, clients: int, rate: float, seconds: float, headers: str) -> Session:
        request = self.target.post("/v1/jobs", BODY, headers)
        turn = 0
        while (now := time.perf_counter()) < began + seconds:
            due = began + (turn * clients + number) / rate if rate else now
            if due > now:
                yield due - now
            answer = yield request
            self.statuses[answer.status] += 1
            turn += 1


class Growth(NamedTuple):
    """The memory of one process."""

    begin_mb: float
    end_mb: float
    mb_per_hour: float


class Watch:
    """The memory of every process of a run, sampled beside it."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._ended = threading.Event()
        #: Seconds, and MB by process.
        self.samples: list[tuple[int, dict[str, float]]] = []

    @contextmanager
    def watching(self) -> Iterator[None]:
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()

    def _run(self) -> None:
        began = time.monotonic()
        while not self._ended.wait(SAMPLE_S):
            found = costs(self._system.pids)
            self.samples.append(
                (round(time.monotonic() - began), {name: round(cost.rss / 2**20, 1) for name, cost in found.items()})
            )
            if len(self.samples) % 12 == 0:
                sizes = ", ".join(f"{name} {size:.0f}" for name, size in self.samples[-1][1].items())
                say(f"{self.samples[-1][0] / 60:.0f} min, MB: {sizes}")

    def growth(self) -> dict[str, Growth]:
        samples = self.samples[round(len(self.samples) * SETTLING) :]
        found = {}
        for name in samples[0][1]:
            line = [(at, sizes[name]) for at, sizes in samples if name in sizes]
            slope = statistics.linear_regression([at for at, _ in line], [size for _, size in line]).slope
            tenth = max(1, len(line) // 10)
            begin, end = (statistics.median(size for _, size in part) for part in (line[:tenth], line[-tenth:]))
            found[name] = Growth(round(begin, 1), round(end, 1), round(slope * 3600, 1))
        return found


def measure(folder: Path, urls: dict[str, str], minutes: float, share: float, burst: float) -> dict[str, Any]:
    models = repository.build(folder / "models", "echo")
    repository.change(models / "echo" / "model.yaml", limits={"queue": QUEUE})
    system, redis = systems.penstock(folder / "farm", models, urls), connect(urls["PENSTOCK_REDIS_URL"])
    try:
        load, watch = Load(system.url, system.key), Watch(system)
        load.run(CLIENTS, 0, CAPACITY_S / 3, WAIT)
        capacity = load.run(CLIENTS, 0, CAPACITY_S, WAIT)
        say(f"capacity {capacity:.0f} jobs/s; {minutes:g} min at {share:.0%} of it")
        load.statuses.clear()
        with watch.watching():
            rate = load.run(CLIENTS, capacity * share, minutes * 60, WAIT)
        steady = dict(load.statuses)
        say(f"{rate:.0f} jobs/s; now {burst:g} times as many for {BURST_S:g} s")
        load.statuses.clear()
        offered = load.run(BURST_CLIENTS, rate * burst, BURST_S)
        flooded, began = dict(load.statuses), time.monotonic()
        load.statuses.clear()
        while not load.statuses[200]:
            load.run(1, 0, 0.01, WAIT)
        recovered_s = time.monotonic() - began
        if ended := system.started.ended():
            raise systems.StartError(ended)
        if wrong := set(steady) - {200} | set(flooded) - {200, 202, 429, 503}:
            raise LoadError(f"requests were answered {sorted(wrong)}")
        return {
            "capacity": capacity, "rate": rate, "minutes": minutes, "steady": steady,
            "growth": {name: growth._asdict() for name, growth in watch.growth().items()},
            "burst": {"offered": offered, "statuses": flooded, "recovered_s": round(recovered_s, 2)},
            "redis_data_mb": round(int(redis.info("memory")["used_memory"]) / 2**20, 1),
            "samples": watch.samples,
        }  # fmt: skip
    finally:
        redis.close()
        system.stop()


def table(result: dict[str, Any]) -> str:
    burst = result["burst"]
    lines = [
        f"{result['minutes']:g} minutes of {result['rate']:.0f} jobs/s, {result['rate'] / result['capacity']:.0%} of "
        f"what the machine could do ({result['capacity']:.0f}/s); {sum(result['steady'].values()):,} jobs, answered "
        f"{answered(result['steady'])}.",
        "",
        "| process | MB at the beginning | at the end | MB an hour |",
        "| --- | ---: | ---: | ---: |",
        *(
            f"| {name} | {one['begin_mb']:.1f} | {one['end_mb']:.1f} | {one['mb_per_hour']:+.1f} |"
            for name, one in result["growth"].items()
        ),
        "",
        f"The burst: {burst['offered']:.0f} requests/s for {BURST_S:g} s, answered "
        f"{answered(burst['statuses'])}; a job that came after it was done {burst['recovered_s']:g} s later.",
    ]
    return "\n".join(lines)


def answered(statuses: dict[int, int]) -> str:
    return ", ".join(f"{count:,} × {status}" for status, count in sorted(statuses.items()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--share", type=float, default=0.7)
    parser.add_argument("--burst", type=float, default=10)
    parser.add_argument("--no-keep", action="store_true", help="print the table only")
    asked = parser.parse_args()
    urls = {name: os.environ[name] for name in URLS if name in os.environ}
    if not urls:
        print("no PENSTOCK_BROKER_URL: run it under `python -m tests.services --`", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        try:
            result = measure(Path(name), urls, asked.minutes, asked.share, asked.burst)
        except (systems.StartError, LoadError, OSError) as error:
            print(error, file=sys.stderr)
            return 1
    print(table(result))
    if not asked.no_keep:
        when, about = datetime.now(UTC).isoformat(timespec="seconds"), machine.described()
        page.keep("soak", {"when": when, "machine": about, "versions": machine.versions(urls), **result})
        taken = f"{about['processor']}, {about['cores']} cores, {when[:10]}."
        page.put("bench.soak", f"{table(result)}\n\n{taken}", PAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
