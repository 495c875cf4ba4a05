"""One seed: load and faults for a while, then everything heals, comes to rest, and is checked."""

import random
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from storage.objects import open_objects
from storage.webhooks import Endpoints
from tests.chaos import gathering
from tests.chaos.client import Client
from tests.chaos.farm import PROCESSES, ChaosFarm, Way, running
from tests.chaos.faults import Fault, deck
from tests.chaos.history import History
from tests.chaos.intents import Wishes
from tests.chaos.listener import Listener
from tests.chaos.load import Load
from tests.chaos.models import MODELS
from tests.chaos.place import Place
from tests.chaos.recorder import Recorder
from tests.chaos.report import Result, Struck, result
from tests.chaos.sink import Sink

#: Seconds until the first fault, and between two: the least and the most.
FIRST_S, BETWEEN_S = 6.0, (10.0, 16.0)
#: How long the next fault waits for the farm to complete a job after the one before, and how long rest is waited for.
RECOVER_S, REST_S = 60.0, 150.0
#: A queue that was declared less than so many seconds before RabbitMQ 3.10 is killed comes back without a leader.
SETTLED_S = 20.0
LOOK_S = 0.1
#: An hour and some.
HOUR_S = 4000

Say = Callable[[str], None]


class Runner:
    """Makes one seed's run; `say` shows what happens."""

    def __init__(
        self, farm: ChaosFarm, sink: Sink, seed: int, faults: Mapping[str, Fault], *, pause_s: float, say: Say
    ) -> None:
        self.farm = farm
        self.seed = seed
        self.faults = dict(faults)
        self.say = say
        self.recorder = Recorder()
        self.struck: list[Struck] = []
        self._healed: list[float] = []
        self.began = time.monotonic()
        self._draw = random.Random(f"faults {seed}")
        self._pile: list[str] = []
        self.sink = sink
        sink.secret = Endpoints(farm.redis).default(farm.tenant).secrets[0].value
        place = Place(farm.url, farm.key, farm.tenant, farm.pika_url, sink.url)
        self.load = Load(place, self.recorder, Wishes(seed), seed, pause_s=pause_s)
        self.listener = Listener(farm.settings.store_url, self.recorder)

    def run(self, seconds: float) -> History:
        self.listener.start()
        self.load.start()
        try:
            self._strike(self.began + seconds)
        finally:
            self.load.stop()
        for error in self.load.errors:
            raise RuntimeError("a client broke down") from error
        self.rested_s = self._rest()
        self._hurry()
        self._ask_all()
        self.listener.stop()
        self.struck = [self._judged(*one) for one in zip(self.struck, self._healed, strict=True)]
        return self._gather()

    def _strike(self, until: float) -> None:
        """One fault after the other until the time is over."""
        next_at = self.began + FIRST_S
        while time.monotonic() < until:
            self._supervise()
            if time.monotonic() < next_at:
                time.sleep(LOOK_S)
                continue
            name = self._choose()
            self._make(name, self.faults[name])
            next_at = max(time.monotonic(), next_at + self._draw.uniform(*BETWEEN_S))

    def _choose(self) -> str:
        if not self._pile:
            self._pile = deck(self._draw, self.faults)
        name = self._pile.pop()
        if name == "kill-broker" and time.monotonic() - self.began < SETTLED_S and self._pile:
            self._pile.insert(0, name)
            return self._pile.pop()
        return name

    def _make(self, name: str, fault: Fault) -> None:
        self.farm.where = ""
        began = time.monotonic()
        heal = fault.inject(self.farm, self._draw)
        lasts = self._draw.uniform(*fault.lasts_s)
        try:
            while time.monotonic() < began + lasts:
                self._supervise()
                time.sleep(LOOK_S)
        finally:
            # Also when somebody ends the run: clients bring to an end what they have begun.
            heal()
        healed = time.monotonic()
        recovered = self._recovered(healed)
        self._healed.append(healed)
        self.struck.append(
            Struck(
                name=name,
                where=self.farm.where,
                at_s=round(began - self.began, 1),
                lasted_s=round(healed - began, 1),
                recovered_s=None if recovered is None else round(recovered, 2),
            )
        )
        self.say(
            f"{began - self.began:6.1f} s  {name} {self.farm.where} {healed - began:.1f} s; first completion after "
            f"{'?' if recovered is None else f'{recovered:.1f} s'}; {len(self.recorder.accepted)} accepted, "
            f"{self.recorder.open} open"
        )

    def _judged(self, struck: Struck, healed: float) -> Struck:
        """With the time until every model had completed something."""
        first = self.recorder.first_ends(healed)
        if set(first) != set(MODELS):
            return struck
        return msgspec.structs.replace(struck, every_model_s=round(max(first.values()) - healed, 2))

    def _recovered(self, healed: float) -> float | None:
        """Seconds until a job ended that was submitted after the heal."""
        while time.monotonic() < healed + RECOVER_S:
            if first := self.recorder.first_ends(healed):
                return min(first.values()) - healed
            self._supervise()
            time.sleep(LOOK_S)
        return None

    def _supervise(self) -> None:
        """A process that ended by itself is started again, as supervisord does; and that it ended is told."""
        for name in PROCESSES:
            process = self.farm.processes.get(name)
            if process is not None and process.poll() is not None:
                self.farm.complaints.append(f"{name} ended by itself with {process.returncode}")
                self.say(self.farm.complaints[-1])
                self.farm.start(name)

    def _rest(self) -> float:
        """Wait until nothing is left to do; the seconds it took."""
        began = told = time.monotonic()
        while (left := gathering.unfinished(self.farm)) and time.monotonic() < began + REST_S:
            if time.monotonic() >= told:
                self.say(f"all healed; left to do: {left}")
                told += 10
            self._supervise()
            time.sleep(1)
        took = time.monotonic() - began
        self.say(f"not at rest after {took:.0f} s: {left}" if left else f"at rest after {took:.1f} s")
        return took

    def _hurry(self) -> None:
        """What is due within the hour is due now: webhooks that failed twice, inputs without a job to be swept."""
        self.farm.clocks["orchestrator"].shift(HOUR_S)
        began = time.monotonic()
        while (gathering.untold(self.farm) or gathering.unswept(self.farm)) and time.monotonic() < began + REST_S:
            self._supervise()
            time.sleep(LOOK_S)

    def _ask_all(self) -> None:
        """Every job is asked for once more, page by page."""
        client = Client(self.farm.url, self.farm.key, self.recorder)
        self.farm.until(lambda: self.farm.ready(), "the farm is ready again")
        cursor = ""
        while True:
            _, cursor = client.page(cursor)
            if not cursor:
                return

    def _gather(self) -> History:
        # What the worker still holds goes back into the queues, where it is counted.
        status = self.farm.stop("worker-cpu")
        if status != 0:
            self.farm.complaints.append(f"worker ended with {status} when it was asked to end")
        objects = open_objects(self.farm.settings.objects)
        found = list(gathering.jobs(self.farm))
        return History(
            intents=tuple(self.recorder.intents.values()),
            calls=tuple(self.recorder.calls),
            executions=tuple(gathering.executions(self.farm.book)),
            records=tuple(gathering.record(job, objects) for job in found),
            rest=gathering.rest(self.farm, found, objects),
            faults=len(self.struck),
            purged=tuple(self.farm.purged),
            deliveries=tuple(self.sink.deliveries),
            webhooks=True,
        )


@contextmanager
def listening(seed: int) -> Iterator[Sink]:
    sink = Sink(seed)
    sink.start()
    try:
        yield sink
    finally:
        sink.stop()


def settings(sink: Sink) -> dict[str, str]:
    """What lets webhooks go to a receiver on this machine."""
    return {"PENSTOCK_WEBHOOK_ALLOW": "127.0.0.0/8", "PENSTOCK_WEBHOOK_PORTS": str(sink.port)}


def run_seed(
    seed: int,
    seconds: float,
    faults: Mapping[str, Fault],
    way: Way,
    *,
    pause_s: float,
    say: Say,
    keep: Path | None = None,
) -> Result:
    """A farm of its own for one seed; `keep`: a folder for its logs and history, which else are gone at the end."""
    with tempfile.TemporaryDirectory(prefix="pc-", ignore_cleanup_errors=True) as name:
        folder = keep or Path(name)
        with listening(seed) as sink, running(folder, way, settings=settings(sink)) as farm:
            say("farm is ready")
            runner = Runner(farm, sink, seed, faults, pause_s=pause_s, say=say)
            history = runner.run(seconds)
        if keep is not None:
            (keep / "history.json").write_bytes(msgspec.json.encode(history))
        return result(
            history,
            seed=seed,
            seconds=seconds,
            way=way,
            faults=runner.struck,
            rest_s=runner.rested_s,
            complaints=farm.complaints,
        )
