"""The worker alone: how fast it empties a queue of echo jobs, and what a job costs each process.

python -m tests.services -- python -m bench.worker [--jobs N] [--batch N]

A drained job was queued as the gateway does it: a record in Redis, and a message that RabbitMQ confirmed.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import farm
from bench import repository, systems
from bench.load import ROW
from bench.processes import Cost, Started, costs
from bench.repository import Way
from settings import Settings
from storage.connection import connect
from storage.jobs import JobStore
from tasks.message import LANES, VERSION, Message, new_id, queue_name
from tasks.publisher import Publisher
from tasks.ticket import Outgoing

#: Of the servers that the worker is given, the variables that name them.
URLS = ("PENSTOCK_BROKER_URL", "PENSTOCK_REDIS_URL", "PENSTOCK_OBJECTS_URL")
#: Jobs queued in one step.
STEP = 500
#: Between two looks at how many jobs are done, seconds.
LOOK_S = 0.02
#: Part of the jobs that is drained before measuring begins.
WARM_UP = 0.1
INPUTS = json.dumps({"x": [ROW]}, separators=(",", ":")).encode()


class Seen(NamedTuple):
    """The state of a drain at one moment."""

    at_s: float
    done: int
    costs: dict[str, Cost]


class Rig:
    """A worker, or what else is asked for, on servers that run already."""

    def __init__(self, folder: Path, urls: dict[str, str], *, max_items: int) -> None:
        self.models = repository.build(folder / "models", "echo")
        repository.tune(self.models, "echo", Way(1, 1, max_items))
        self.env = systems.own_environment() | {
            **urls, "PENSTOCK_DATA": str(folder), "PENSTOCK_MODELS": str(self.models), "PENSTOCK_LOG_LEVEL": "warning",
        }  # fmt: skip
        self.settings = Settings.from_env(self.env)
        self.started = Started(folder)
        self.servers = systems.servers(urls)
        self.client = connect(self.settings.store_url)
        self.jobs = JobStore(self.client)

    def start(self, *names: str) -> None:
        for name, command in farm.programs(self.settings, pools=["cpu"]).items():
            if name in names:
                self.started.start(name.removesuffix("-cpu"), command, self.env)

    def seen(self) -> Seen:
        return Seen(time.monotonic(), self.jobs.counters().get("succeeded", 0), costs(self.started.pids | self.servers))

    def wait_done(self, count: int) -> Seen:
        """Wait until so many jobs have succeeded; raises StartError when a process ends before."""
        while (done := self.jobs.counters().get("succeeded", 0)) < count:
            if ended := self.started.ended():
                raise systems.StartError(ended)
            time.sleep(LOOK_S)
        return self.seen()._replace(done=done)

    def close(self) -> None:
        self.started.stop()
        self.client.close()


def push(rig: Rig, count: int) -> None:
    """Queue jobs as the gateway does."""
    queues = [queue_name("cpu", "echo", "1", lane) for lane in LANES]
    publisher = Publisher(rig.settings.queue_url, deadline_s=30, queues=lambda: queues)
    for begin in range(0, count, STEP):
        now = rig.jobs.now_ms()
        made = [message(now) for _ in range(min(STEP, count - begin))]
        bodies = [one.encode() for one in made]
        records = [one.record(body, now_ms=now) for one, body in zip(made, bodies, strict=True)]
        rig.jobs.create_all([(record, 0) for record in records])
        errors = publisher.publish([Outgoing(one.queue, one.id, body) for one, body in zip(made, bodies, strict=True)])
        for error in filter(None, errors):
            raise error
    publisher.close()


def message(now_ms: int) -> Message:
    import msgspec

    return Message(v=VERSION, id=new_id(), model="echo", version="1", inputs=msgspec.Raw(INPUTS), created_ms=now_ms)


def drain(rig: Rig, count: int) -> dict[str, Any]:
    """Queue jobs, then start a worker on them; its rate and each process's CPU a job once it runs at full speed."""
    done = rig.jobs.counters().get("succeeded", 0)
    push(rig, count)
    rig.start("worker-cpu")
    first = rig.wait_done(done + round(count * WARM_UP))
    last = rig.wait_done(done + count)
    jobs = last.done - first.done
    return {
        "jobs": jobs,
        "rate": jobs / (last.at_s - first.at_s),
        "cpu_ms": {
            name: (cost.cpu_s - first.costs[name].cpu_s) * 1000 / jobs
            for name, cost in last.costs.items()
            if name in first.costs
        },
        "rss_mb": {name: cost.rss / 2**20 for name, cost in last.costs.items()},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=30_000)
    parser.add_argument("--batch", type=int, default=64, help="max_items of the echo")
    asked = parser.parse_args()
    urls = {name: os.environ[name] for name in URLS if name in os.environ}
    if not urls:
        print("no PENSTOCK_BROKER_URL: run it under `python -m tests.services --`", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        rig = Rig(Path(name), urls, max_items=asked.batch)
        try:
            print(json.dumps(drain(rig, asked.jobs), indent=1))
        except systems.StartError as error:
            print(error, file=sys.stderr)
            return 1
        finally:
            rig.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
