"""One workload: the search for the ceiling, the systems started, and the rounds that measure them in turn."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench import repository, systems, workloads
from bench.plan import MODES, Cell, Plan
from bench.processes import CORES, ROOT, Cost, busy_s, costs
from bench.progress import ceiling_line, cell_line, say
from bench.repository import Way
from bench.systems import System
from bench.workloads import Workload

#: Seconds of each way of running a model, in the search for the best.
SEARCH_S = 1.0
#: Of the ways that come so close to the best, the farm runs with that of most rows a call: its cost by call is less.
CLOSE = 0.97
WARM_UP_S = 1.0


class Bench:
    def __init__(self, workload: Workload, plan: Plan, folder: Path, urls: dict[str, str]) -> None:
        self.workload = workload
        self.plan = plan
        self.folder = folder
        self.urls = urls
        folder.mkdir()
        self.models = repository.build(folder / "models", workload.name)
        self.file = workloads.prepare(workload, self.models, folder / "workload.json")
        self.systems: dict[str, System] = {}

    def run(self) -> dict[str, Any]:
        """All that was found, as it is kept."""
        say(f"{self.workload.name}: searching for the ceiling")
        searched = self.search()
        best, farm = choose(searched)
        if self.workload.tuned:
            repository.tune(self.models, self.workload.name, farm)
        else:
            farm = repository.shipped(self.models, self.workload.name)
        say(f"in process best as {best}, the farm runs as {farm}")
        with ExitStack() as ending:
            self.start(ending)
            rounds = [self.round(number, best, farm) for number in range(1, self.plan.rounds + 1)]
        return {
            "seconds": self.workload.seconds * self.plan.part,
            "jobs_per_body": self.workload.per_body,
            "searched": searched,
            "best": best._asdict(),
            "farm": farm._asdict(),
            "ceilings": [one for ceilings, _ in rounds for one in ceilings],
            "cells": [cell for _, cells in rounds for cell in cells],
        }

    def search(self) -> list[dict[str, Any]]:
        """Every way that may be best: all cores busy, by processes or by threads."""
        seconds = SEARCH_S * self.plan.part
        return [
            one
            for instances, threads in spreads(CORES)
            for one in self.ceiling(instances, threads, self.workload.batches, seconds)
        ]

    def ceiling(self, instances: int, threads: int, batches: tuple[int, ...], seconds: float) -> list[dict[str, Any]]:
        arguments = [
            "--instances", str(instances), "--threads", str(threads), "--batches", ",".join(map(str, batches)),
            "--seconds", str(seconds),
        ]  # fmt: skip
        command = [sys.executable, "-m", "bench.ceiling", self.workload.name, str(self.models), *arguments]
        found: list[dict[str, Any]] = json.loads(output(command, "in process"))
        return found

    def start(self, ending: ExitStack) -> None:
        """Start the systems, and have each answer for a while."""
        name, models = self.workload.name, self.models
        starts: tuple[Callable[[], System], ...] = (
            lambda: systems.penstock(self.folder / "penstock", models, self.urls),
            lambda: systems.penstock(self.folder / "embedded", models, {}),
            lambda: systems.plain(self.folder / "plain", models, name, self.urls),
        )
        for start in starts:
            started = start()
            ending.callback(started.stop)
            self.systems[started.name] = started
        for system, modes in MODES.items():
            for clients in (1, max(self.plan.clients)):
                self.load(Cell(system, modes[-1], clients), "--seconds", str(WARM_UP_S))

    def round(self, number: int, best: Way, farm: Way) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The model in process, then every cell."""
        seconds = self.workload.seconds * self.plan.part
        idle_s, began_s = self.spent_s(), time.monotonic()
        (top,) = self.ceiling(best.instances, best.threads, (best.batch,), seconds)
        (alone,) = self.ceiling(1, farm.threads, (1,), seconds / 2)
        idle_share = (self.spent_s() - idle_s) / (time.monotonic() - began_s)
        common = {"round": number, "systems_cpu_share": idle_share}
        ceilings = [{**common, "kind": "best", **top}, {**common, "kind": "alone", **alone}]
        for one in ceilings:
            say(ceiling_line(self.workload.name, one))
        cells = []
        for cell in self.plan.cells(self.workload):
            cells.append({"round": number, **self.measured(cell)})
            say(cell_line(self.workload.name, cells[-1], self.plan.rounds))
        return ceilings, cells

    def spent_s(self) -> float:
        """CPU seconds of all systems so far."""
        return sum(cost.cpu_s for system in self.systems.values() for cost in costs(system.pids).values())

    def measured(self, cell: Cell) -> dict[str, Any]:
        """One measurement: what the clients saw, and what each process took for a job."""
        system = self.systems[cell.system]
        busy, began_s, before = busy_s(), time.monotonic(), costs(system.pids)
        seconds = self.workload.seconds * self.plan.part
        bodies = max(1, round(self.workload.bodies * self.plan.part))
        lengths = ["--ramp", str(self.workload.ramp_s), "--seconds", str(seconds), "--bodies", str(bodies)]
        seen = self.load(cell, *lengths)
        if "jobs_per_s" not in seen:
            raise systems.StartError(f"{cell}: no job ended within {seconds:g} s")
        after, busy, wall_s = costs(system.pids), busy_s() - busy, time.monotonic() - began_s
        spent = {name: cost.cpu_s - before.get(name, Cost(0.0, 0)).cpu_s for name, cost in after.items()}
        jobs = seen["all_jobs"]
        return {
            "system": cell.system,
            "mode": cell.mode,
            "clients": cell.clients,
            **seen,
            "cpu_ms": {name: s * 1000 / jobs for name, s in {**spent, "load": seen["load_cpu_s"]}.items()},
            "rss_mb": {name: cost.rss / 2**20 for name, cost in after.items()},
            # What neither the system nor its clients took: the machine was not ours alone.
            "others_cpu_share": max(0.0, busy - sum(spent.values()) - seen["load_cpu_s"]) / wall_s,
        }

    def load(self, cell: Cell, *arguments: str) -> dict[str, float]:
        """Run the load generator in a process of its own; raises StartError with its last words."""
        system = self.systems[cell.system]
        command = [
            sys.executable, "-m", "bench.load", cell.mode, str(self.file), system.url, "--key", system.key,
            "--clients", str(cell.clients), *arguments,
        ]  # fmt: skip
        seen: dict[str, float] = json.loads(output(command, f"{cell.system} {cell.mode}"))
        return seen


def output(command: list[str], what: str) -> str:
    """What the command prints; raises StartError with its last words where it fails."""
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            printed, errors = process.communicate()
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise systems.StartError(f"{what}: {errors.strip().splitlines()[-1:]}")
    return printed


def spreads(cores: int) -> list[tuple[int, int]]:
    """Instances and threads that fill the cores: one thread each, all threads in one, and halves between."""
    found = {(cores, 1), (1, cores)}
    if cores >= 4:
        found |= {(cores // 2, 2), (2, cores // 2)}
    return sorted(found)


def choose(searched: list[dict[str, Any]]) -> tuple[Way, Way]:
    """The fastest way in process, and the way the farm runs: one that is about as fast, with most rows a call."""
    fastest = max(searched, key=lambda one: one["rows_per_s"])
    near = [one for one in searched if one["rows_per_s"] >= CLOSE * fastest["rows_per_s"]]
    return way(fastest), way(max(near, key=lambda one: one["batch"]))


def way(one: dict[str, Any]) -> Way:
    return Way(one["instances"], one["threads"], one["batch"])
