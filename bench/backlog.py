"""A backlog: jobs are submitted while no worker runs, and drained by one that comes then.

python -m tests.services -- python -m bench.backlog [--jobs 1000000] [--no-keep]     20 minutes for a million

For each tenth: how fast jobs were accepted (`jobs:batch`, four clients) and then run, and the memory of the processes;
and the bytes of Redis that a queued job takes. The result goes to bench/results/backlog-<date>.json, its table into
docs/performance.md.
"""

import argparse
import http.client
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench import machine, page, repository, systems
from bench.load import ROW
from bench.processes import Cost, costs
from bench.progress import say
from bench.systems import System
from bench.worker import URLS, Rig
from storage.access import Access
from storage.connection import Client

#: Jobs of one body, and how many clients send such bodies.
PER_BODY, CLIENTS = 500, 4
PARTS = 10
#: Jobs before those that count.
WARM_UP = 2 * PER_BODY
#: Processes whose memory is shown.
SHOWN = ("gateway", "worker", "redis", "rabbitmq")
BODY = (json.dumps({"model": "echo", "inputs": {"x": [ROW]}}, separators=(",", ":")) + "\n").encode() * PER_BODY


class Sender:
    """One client; raises RuntimeError where a job is refused."""

    def __init__(self, url: str, key: str) -> None:
        self.connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        self.headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}

    def send(self, bodies: int) -> None:
        for _ in range(bodies):
            self.connection.request("POST", "/v1/jobs:batch", BODY, self.headers)
            answer = self.connection.getresponse()
            text = answer.read()
            if answer.status != 200 or text.count(b'"job":') != PER_BODY:
                raise RuntimeError(f"{answer.status}: {text[:500]!r}")


def parts(jobs: int) -> Iterator[int]:
    """Each tenth, a multiple of what all clients send at once."""
    step = CLIENTS * PER_BODY
    for part in range(PARTS):
        yield (jobs * (part + 1) // PARTS // step - jobs * part // PARTS // step) * step


def memory(found: dict[str, Cost]) -> dict[str, float]:
    return {name: round(cost.rss / 2**20, 1) for name, cost in found.items() if name in SHOWN}


def redis_bytes(client: Client) -> int:
    return int(client.info("memory")["used_memory"])


def fill(rig: Rig, system: System, jobs: int) -> Iterator[dict[str, Any]]:
    senders = [Sender(system.url, system.key) for _ in range(CLIENTS)]
    with ThreadPoolExecutor(CLIENTS) as pool:
        for count in parts(jobs):
            began_s = time.monotonic()
            list(pool.map(Sender.send, senders, [count // CLIENTS // PER_BODY] * CLIENTS))
            rate = count / (time.monotonic() - began_s)
            yield {"jobs": count, "rate": rate, "rss_mb": memory(costs(system.pids | rig.servers))}
            say(f"accepted {count} jobs, {rate:.0f}/s")


def drain(rig: Rig, system: System, jobs: int) -> Iterator[dict[str, Any]]:
    begin, target = rig.seen(), WARM_UP
    for count in parts(jobs):
        target += count
        end = rig.wait_done(target)
        rate = (end.done - begin.done) / (end.at_s - begin.at_s)
        yield {"jobs": end.done - begin.done, "rate": rate, "rss_mb": memory(costs(system.pids | rig.servers))}
        say(f"ran {end.done - begin.done} jobs, {rate:.0f}/s")
        begin = end


def measure(folder: Path, urls: dict[str, str], jobs: int) -> dict[str, Any]:
    rig = Rig(folder / "rig", urls, max_items=64)
    system = System("penstock", folder / "penstock", servers=rig.servers)
    system.key = Access(rig.client).create("bench", "bench")
    rig.env["PENSTOCK_PORT"] = str(system.port)
    system.started = rig.started
    try:
        rig.start("gateway", "orchestrator")
        system.wait_ready(lambda: systems.answers(system.url + "/livez"))
        Sender(system.url, system.key).send(WARM_UP // PER_BODY)
        before = redis_bytes(rig.client)
        filled = list(fill(rig, system, jobs))
        queued = sum(one["jobs"] for one in filled)
        bytes_a_job = (redis_bytes(rig.client) - before) / queued
        rig.start("worker-cpu")
        # Started, and what was queued first.
        rig.wait_done(WARM_UP)
        drained = list(drain(rig, system, jobs))
        return {"jobs": queued, "redis_bytes_a_job": bytes_a_job, "filled": filled, "drained": drained}
    finally:
        rig.close()


def table(result: dict[str, Any]) -> str:
    names = [name for name in SHOWN if name in result["drained"][-1]["rss_mb"]]
    lines = [
        "| tenth | accepted jobs/s | ran jobs/s | " + " | ".join(f"{name} MB, after either" for name in names) + " |",
        "| ---: | ---: | ---: |" + " ---: |" * len(names),
    ]
    for number, (one, two) in enumerate(zip(result["filled"], result["drained"], strict=True), 1):
        sizes = [f"{one['rss_mb'].get(name, 0):.0f}, {two['rss_mb'].get(name, 0):.0f}" for name in names]
        lines.append(f"| {number} | {one['rate']:,.0f} | {two['rate']:,.0f} | " + " | ".join(sizes) + " |")
    lines += ["", f"Redis: {result['redis_bytes_a_job']:.0f} bytes a queued job, of {result['jobs']:,} jobs."]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--no-keep", action="store_true", help="print the table only")
    asked = parser.parse_args()
    least = WARM_UP + PARTS * CLIENTS * PER_BODY
    if not least <= asked.jobs <= repository.QUEUE:
        parser.error(f"--jobs must be {least} to {repository.QUEUE}")
    urls = {name: os.environ[name] for name in URLS if name in os.environ}
    if not urls:
        print("no PENSTOCK_BROKER_URL: run it under `python -m tests.services --`", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        (Path(name) / "rig").mkdir()
        try:
            # A lane holds a million.
            result = measure(Path(name), urls, asked.jobs - WARM_UP)
        except (systems.StartError, RuntimeError, OSError) as error:
            print(error, file=sys.stderr)
            return 1
    print(table(result))
    if not asked.no_keep:
        when, about = datetime.now(UTC).isoformat(timespec="seconds"), machine.described()
        page.keep("backlog", {"when": when, "machine": about, "versions": machine.versions(urls), **result})
        taken = f"{about['processor']}, {about['cores']} cores, {when[:10]}."
        page.put("bench.backlog", f"{table(result)}\n\n{taken}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
