"""Executors under load, as the farm runs them: a process each, a thread each to feed it, jobs of one row."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from errors import LoadError
from models.catalog import Entry
from tasks.message import VERSION, Message
from workers import wire
from workers.executor import Executor, ExecutorDied, ExecutorHung
from workers.proving import deaf
from workers.tuning.points import Point, Setup, summary


class Spoilt(Exception):
    """A batch ended badly; what is measured would mean nothing."""


class Fleet:
    """The executors of one setup."""

    def __init__(self, repository: Path, entry: Entry, setup: Setup, device: str) -> None:
        """Start them all and wait until the last is warm; raises LoadError."""
        self.setup, self.timeout_s = setup, entry.manifest.limits.timeout_s
        #: Set to make those end that feed the executors.
        self.ended = threading.Event()
        spec = wire.Spec(str(repository), entry.manifest.name, entry.version, device, f"file://{repository}/.objects")
        self.executors: list[Executor] = []
        try:
            with deaf():
                for _ in range(setup.instances):
                    memory_mb = entry.manifest.limits.memory_mb
                    self.executors.append(Executor(spec, threads=setup.threads, memory_mb=memory_mb))
            for executor in self.executors:
                executor.load()
        except BaseException:
            self.kill()
            raise

    def measure(self, items: Sequence[wire.Item], *, rows: int, seconds: float) -> Point:
        """Run the same batch on all at once, over and over; a first time uncounted. A failure is the point's reason."""
        try:
            self.together(items, seconds=0)
            started = time.perf_counter()
            took = self.together(items, seconds=seconds)
            elapsed = time.perf_counter() - started
        except (Spoilt, ExecutorDied, ExecutorHung) as error:
            return msgspec.structs.replace(self.point(rows), reason=str(error) or type(error).__name__)
        return summary(self.setup, rows, took_ms=took, rows=rows * len(took), elapsed_s=elapsed)

    def together(self, items: Sequence[wire.Item], *, seconds: float) -> list[float]:
        """How long each batch took, milliseconds, on all executors; each runs one at least."""
        with ThreadPoolExecutor(len(self.executors), "tune") as threads:
            futures = [threads.submit(self.feed, executor, items, seconds) for executor in self.executors]
            try:
                return [took for future in futures for took in future.result()]
            except BaseException:
                # A thread that waits for its executor ends with it.
                self.kill()
                raise

    def feed(self, executor: Executor, items: Sequence[wire.Item], seconds: float) -> list[float]:
        took: list[float] = []
        end = time.perf_counter() + seconds
        while not took or (time.perf_counter() < end and not self.ended.is_set()):
            started = time.perf_counter()
            done = executor.run(items, timeout_s=self.timeout_s)
            took.append((time.perf_counter() - started) * 1000)
            if failed := next((result for result in done.results if result.error), None):
                raise Spoilt(msgspec.json.decode(failed.error)["detail"])
        return took

    def point(self, batch: int) -> Point:
        return Point(self.setup.runtime, self.setup.instances, self.setup.threads, batch)

    def kill(self) -> None:
        self.ended.set()
        for executor in self.executors:
            executor.kill()

    def stop(self) -> None:
        self.ended.set()
        for executor in self.executors:
            executor.stop()


def jobs(entry: Entry, inputs: dict[str, object], count: int) -> list[wire.Item]:
    """So many jobs with the same inputs."""
    raw = msgspec.Raw(msgspec.json.encode(inputs))
    body = Message(v=VERSION, id="job_0", model=entry.manifest.name, version=entry.version, inputs=raw).encode()
    return [wire.Item(f"job_{number}", 1, body) for number in range(count)]


def unloaded(setup: Setup, batches: Sequence[int], error: LoadError) -> list[Point]:
    return [Point(setup.runtime, setup.instances, setup.threads, batch, reason=error.detail) for batch in batches]
