"""Whether a model does on this machine what its manifest says: loaded and run as the farm does it."""

import math
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from errors import LoadError
from storage.objects import open_objects
from tasks.message import VERSION, Message
from workers import wire
from workers.executor import Executor, ExecutorDied, ExecutorHung

#: How far the outputs of a row may differ when it runs beside another: libraries add in another order then.
RELATIVE, ABSOLUTE = 1e-2, 1e-4
TIMEOUT_S = 600.0


class Failed(msgspec.Struct, frozen=True):
    """A job's error."""

    detail: str


class Prover:
    """A model in an executor, of a repository of its own."""

    def __init__(self, repository: Path, model: str, version: str) -> None:
        """Load it and run its example; raises LoadError."""
        self.model, self.version = model, version
        self.objects_url = f"file://{(repository / '.objects').resolve()}"
        spec = wire.Spec(str(repository.resolve()), model, version, "cpu", self.objects_url)
        with deaf():
            self.executor = Executor(spec, threads=1)
        try:
            self.load_ms = self.executor.load().load_ms
        except BaseException:
            self.executor.kill()
            raise

    def __enter__(self) -> "Prover":
        return self

    def __exit__(self, *_: object) -> None:
        self.executor.stop()

    def run(self, jobs: Sequence[dict[str, object]]) -> tuple[list[dict[str, Any] | Failed], float]:
        """The outputs of these jobs, run as one batch, and milliseconds; raises LoadError where the process ends."""
        items = [wire.Item(f"job_{number}", 1, self.body(job)) for number, job in enumerate(jobs)]
        try:
            done = self.executor.run(items, timeout_s=TIMEOUT_S)
        except (ExecutorDied, ExecutorHung) as error:
            raise LoadError(f"model {self.model!r}: the process that ran it ended with {error}") from error
        return [self.read(result) for result in done.results], done.compute_ms

    def body(self, job: dict[str, object]) -> bytes:
        inputs = msgspec.Raw(msgspec.json.encode(job))
        return Message(v=VERSION, id="job_0", model=self.model, version=self.version, inputs=inputs).encode()

    def read(self, result: wire.Result) -> dict[str, Any] | Failed:
        if result.error:
            return Failed(msgspec.json.decode(result.error)["detail"])
        text = result.outputs or open_objects(self.objects_url).read(result.outputs_key)
        outputs: dict[str, Any] = msgspec.json.decode(text)
        return outputs

    def independent(self, one: dict[str, object], other: dict[str, object]) -> bool:
        """Whether rows give the same beside each other as alone; raises LoadError where they fail only together."""
        (first,), _ = self.run([one])
        (second,), _ = self.run([other])
        if isinstance(first, Failed):
            raise LoadError(first.detail)
        if isinstance(second, Failed):
            other, second = one, first
        together, _ = self.run([one, other])
        return like(together[0], first) and like(together[1], second)


@contextmanager
def deaf() -> Iterator[None]:
    """Processes started within do not hear the terminal's Ctrl-C: this one ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def like(one: object, other: object) -> bool:
    """Equal, numbers nearly."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(like, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(like(one[key], other[key]) for key in one)
    if isinstance(one, float) and isinstance(other, (float, int)):
        return math.isclose(one, other, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    return one == other
