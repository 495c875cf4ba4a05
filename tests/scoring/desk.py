"""A scoring with everything it takes but workers: a driver in this thread, and executors that run when it waits."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from models import columns
from settings import Settings
from storage import keys
from storage.clock import wall_ms
from storage.connection import Client
from storage.driven import take
from storage.job import Status
from storage.jobs import JobStore, Outcome, Verdict, Want
from storage.objects import Objects, open_objects
from storage.scoring import Failure, Part, Scoring, Spec
from storage.scorings import Scorings
from storage.workers import ModelStatus, Workers, WorkerStatus
from tasks.message import Message, decode
from tasks.publisher import Publisher
from tasks.scoring import driving
from tasks.scoring.cutting import put_rows
from tasks.scoring.merging import merge_failures
from tasks.scoring.parts import Parts
from tasks.ticket import Outgoing

INPUTS = b'[{"name":"x","datatype":"FP32","shape":[-1,2]}]'
OUTPUTS = b'[{"name":"y","datatype":"FP32","shape":[-1]}]'
ID = "scr_1"
INPUT = "acme/objects/table"


class Killed(BaseException):
    """The process is gone: nothing catches it."""


class Fuse:
    """Kills at one of the things that a driver does to the world: before it, or after it."""

    def __init__(self) -> None:
        self.left = -1
        self.after = False
        self.count = 0

    def __call__(self, act: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **options: Any) -> Any:
            # Signs of life come from a thread.
            if threading.current_thread() is not threading.main_thread():
                return act(*args, **options)
            self.count += 1
            last = self.count == self.left
            if last and not self.after:
                raise Killed
            answer = act(*args, **options)
            if last:
                raise Killed
            return answer

        return guarded


class Fused:
    """An object whose named methods go through a fuse."""

    def __init__(self, inner: Any, fuse: Fuse, *names: str) -> None:
        self._inner = inner
        for name in names:
            setattr(self, name, fuse(getattr(inner, name)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class Outbox:
    """Stands for the broker."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def publish(self, outgoing: Sequence[Outgoing]) -> list[Exception | None]:
        self.messages += [decode(one.body) for one in outgoing]
        return [None] * len(outgoing)


class Executors:
    """Run shards: y is the sum of x. A row with 66 takes its whole shard along."""

    def __init__(self, outbox: Outbox, jobs: JobStore, objects: Objects) -> None:
        self._outbox = outbox
        self._jobs = jobs
        self._objects = objects
        self.ran: list[tuple[str, int]] = []
        #: Ids of jobs that are not run.
        self.held: Callable[[str], bool] = lambda id: False
        #: Whether a row fails, by its number and x.
        self.fails: Callable[[int, list[int]], bool] = lambda row, x: 13 in x
        #: What a row takes, milliseconds.
        self.row_ms: Callable[[], float] = lambda: 1.0
        #: Run each message twice, as a broker may deliver it.
        self.twice = False

    def work(self) -> int:
        """Run everything that is published, last come first: shards end in another order than they began."""
        messages, self._outbox.messages = self._outbox.messages, []
        kept = [one for one in messages if self.held(one.id)]
        self._outbox.messages = kept + self._outbox.messages
        some = [one for one in messages if not self.held(one.id)]
        for message in reversed(some):
            for _ in range(1 + self.twice):
                self._claim_and_run(message)
        return len(some)

    def _claim_and_run(self, message: Message) -> None:
        want = Want(message.id, message.queue, False, f"w1/{len(self.ran)}")
        (claim,) = self._jobs.claim_all([want], device="cpu:0", losses_allowed=2, lost_error=b"{}")
        if claim.verdict is Verdict.MISSING:
            self._jobs.create(message.record(message.encode(), now_ms=wall_ms()))
            (claim,) = self._jobs.claim_all([want], device="cpu:0", losses_allowed=2, lost_error=b"{}")
        if claim.verdict is Verdict.RUN:
            self._jobs.finish_all([self.outcome(message, claim.token)])

    def outcome(self, message: Message, token: int) -> Outcome:
        assert message.shard
        table = columns.read_file(self._objects.read(message.shard.rows))
        self.ran.append((message.id, len(table)))
        numbers = table.column("row").to_pylist()
        values = [json.loads(one) if isinstance(one, str) else one for one in table.column("in:x").to_pylist()]
        if any(66 in x for x in values):
            error = b'{"code":"worker_lost","detail":"gone"}'
            return Outcome(id=message.id, queue=message.queue, token=token, status=Status.FAILED, error=error)
        good = [index for index, x in enumerate(values) if not self.fails(numbers[index], x)]
        bad = [Failure(row, None, "model_error", "13", True) for index, row in enumerate(numbers) if index not in good]
        passed = table.select([name for name in table.column_names if not name.startswith("in:")])
        out = passed.take(pa.array(good, pa.int64()))
        y = pa.array([float(sum(values[index])) for index in good], pa.float32())
        attempt = f"{message.shard.output}-{token}-{len(self.ran)}"
        put_rows(self._objects, f"{attempt}.arrow", out.append_column("out:y", y))
        if bad:
            merge_failures(self._objects, [bad], f"{attempt}.jsonl")
        told = {
            "rows": len(good), "failed": len(bad), "output": f"{attempt}.arrow",
            "failures": f"{attempt}.jsonl" if bad else "", "bytes": 1, "compute_ms": 0.1,
            "spent_ms": self.row_ms() * len(table),
        }  # fmt: skip
        outputs = msgspec.json.encode(told)
        return Outcome(id=message.id, queue=message.queue, token=token, status=Status.SUCCEEDED, outputs=outputs)


class Desk:
    def __init__(self, store: Client, folder: Path) -> None:
        self.store = store
        self.folder = folder
        self.fuse = Fuse()
        self.objects = open_objects(f"file://{folder}/objects")
        self.jobs, self.scorings, self.workers = JobStore(store), Scorings(store), Workers(store)
        self.outbox = Outbox()
        self.executors = Executors(self.outbox, self.jobs, self.objects)
        self.waits: list[Callable[[], object]] = [self.executors.work]
        self.stop = threading.Event()
        self.idle = 0

    def parts(self) -> Parts:
        publisher: Publisher = Fused(self.outbox, self.fuse, "publish")  # type: ignore[assignment]
        objects: Objects = Fused(self.objects, self.fuse, "put", "delete", "delete_prefix")
        jobs: JobStore = Fused(self.jobs, self.fuse, "create", "forget", "cancel")  # type: ignore[assignment]
        return Parts(
            settings=Settings(), client=self.store, scorings=self.scorings, jobs=jobs, workers=self.workers,
            objects=objects, publisher=publisher, signing=None,
        )  # fmt: skip

    def table(self, rows: Sequence[object]) -> None:
        """The input: one JSON line a row; a row that is no list is a broken one."""
        lines = [json.dumps({"x": row, "custom_id": f"r{n}"}) if row != "broken" else "{" for n, row in enumerate(rows)]
        self.objects.put(INPUT, ["\n".join(lines).encode() + b"\n"])

    def create(self, **more: Any) -> Spec:
        found = self.objects.stat(INPUT)
        assert found
        spec = Spec(
            id=ID, tenant="acme", model="mlp", version="1", input=(Part(INPUT, found.etag, found.bytes),),
            format="jsonl", output_format="jsonl", inputs=msgspec.Raw(INPUTS), outputs=msgspec.Raw(OUTPUTS),
            max_items=4, created_ms=wall_ms(), shard_rows=more.pop("shard_rows", 8),
        )  # fmt: skip
        spec = msgspec.structs.replace(spec, **more)
        assert self.scorings.create(spec).verdict == "created"
        return spec

    def beat(self, executors: int = 2) -> None:
        one = ModelStatus(model="mlp", version="1", state="ready", executors=executors)
        self.workers.beat(WorkerStatus(name="w1", pool="cpu", started_ms=1, models=(one,)), now_ms=wall_ms())

    def drive(self) -> None:
        """Until its end; raises Killed where the fuse blows."""
        hold = take(self.scorings)
        assert hold is not None, "nobody wants to be driven"
        hold.note, hold.release = self.fuse(hold.note), hold.release  # type: ignore[method-assign]
        driver = driving.Driver(hold, self.parts(), self.stop)
        driver.drive()

    def lapse(self) -> None:
        """The lease of a driver that died runs out."""
        for member in self.store.zrange(keys.SCORINGS_DRIVEN, 0, -1):
            self.store.zadd(keys.SCORINGS_DRIVEN, {member: 1})

    def record(self) -> Scoring:
        one = self.scorings.get(ID)
        assert one is not None
        return one

    def output(self) -> bytes:
        return self.objects.read(self.record().output_key)

    def errors(self) -> list[Failure]:
        text = self.objects.read(self.record().errors_key)
        return [msgspec.json.decode(line, type=Failure) for line in text.splitlines()]

    def stored(self) -> list[str]:
        """What is there below the scoring, without what names it."""
        prefix = f"acme/scorings/{ID}/"
        return sorted(key.removeprefix(prefix) for key in self.objects.keys(prefix))

    def left_in_redis(self) -> list[str]:
        """Keys of shards and their jobs."""
        found = [key.decode() for key in self.store.keys("*")]
        return sorted(key for key in found if "job:" in key or key.startswith(keys.scoring(ID) + ":"))

    def bell(self) -> type[Any]:
        """Stands for what a driver waits with: the executors run meanwhile."""
        desk = self

        class Bell:
            def __init__(self, client: Client, id: str) -> None:
                pass

            def wait(self, timeout_s: float) -> None:
                for step in list(desk.waits):
                    step()
                desk.idle += 1
                if desk.idle > 2000:
                    raise Killed("the driver waits for ever")

            def close(self) -> None:
                pass

        return Bell


def desks(store: Client, folder: Path) -> Iterator[Desk]:
    desk = Desk(store, folder)
    desk.beat()
    yield desk
    desk.stop.set()
