"""The clients of a run: threads that submit, push, wait, poll, cancel and retry until they are told to stop."""

import random
import threading
from collections.abc import Callable
from typing import Any

from tests.chaos.client import AGAIN, Client
from tests.chaos.history import TERMINAL, Call, Intent
from tests.chaos.intents import LANES, Wishes
from tests.chaos.place import Place
from tests.chaos.pushing import Pusher
from tests.chaos.recorder import Recorder

#: Accepted jobs that may be open at once: more would only wait.
MOST_OPEN = 1500
#: Tries of one submission; a client that gives up has a job that may be or not be, but not twice.
TRIES = 40
#: How many threads do each thing.
CREW = {"single": 3, "batch": 2, "follow": 3, "meddle": 1, "push": 1}


class Load:
    """Starts with `start`; `stop` lets each thread finish what it has begun."""

    def __init__(self, place: Place, recorder: Recorder, wishes: Wishes, seed: int, *, pause_s: float) -> None:
        self.place = place
        self.recorder = recorder
        self.wishes = wishes
        self.pause_s = pause_s
        self._seed = seed
        self._stop = threading.Event()
        self.errors: list[BaseException] = []
        self._pusher = Pusher(place, recorder)
        crew = CREW if place.broker else {**CREW, "push": 0}
        self._threads = [
            threading.Thread(target=self._run, args=(name, number), name=f"{name}-{number}", daemon=True)
            for name, count in crew.items()
            for number in range(count)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._pusher.close()

    def _run(self, name: str, number: int) -> None:
        draw = random.Random(f"{name} {number} {self._seed}")
        client = Client(self.place.url, self.place.key, self.recorder)
        step: Callable[[Client, random.Random], None] = getattr(self, f"_{name}")
        try:
            while not self._stop.is_set():
                step(client, draw)
        except BaseException as error:  # A client that broke down must not pass for a quiet farm.
            self.errors.append(error)
            raise

    def _due(self, draw: random.Random, times: float = 1.0) -> bool:
        """Pause; whether to go on and submit."""
        self._stop.wait(draw.expovariate(1 / (self.pause_s * times)))
        return not self._stop.is_set() and self.recorder.open < MOST_OPEN

    # -- what each thread does again and again --------------------------------------------------------------------

    def _single(self, client: Client, draw: random.Random) -> None:
        if not self._due(draw):
            return
        intent = self.wishes.next()
        self.recorder.mean(intent)
        body, wait_s = self._body(intent, draw), draw.choice((0, 0, 0, 2))
        self._insist(draw, lambda: [client.submit(intent, body, wait_s=wait_s)])

    def _batch(self, client: Client, draw: random.Random) -> None:
        if not self._due(draw, 10):
            return
        wished = [self.wishes.next() for _ in range(draw.choice((8, 32, 64)))]
        key = wished[0].key + "-batch"
        for intent in wished:
            self.recorder.mean(intent)
        bodies = [self._body(intent, draw) for intent in wished]
        self._insist(draw, lambda: client.submit_many(key, wished, bodies))

    def _follow(self, client: Client, draw: random.Random) -> None:
        job = self.recorder.follow()
        if job is None:
            self._stop.wait(0.02)
            return
        if draw.random() < 0.6:
            return
        call = client.look(job, wait_s=draw.choice((0, 0, 1.5)))
        if call.status in AGAIN:
            self._stop.wait(0.1)
        if call.state not in TERMINAL:
            self.recorder.follow_on(job)

    def _meddle(self, client: Client, draw: random.Random) -> None:
        self._stop.wait(draw.expovariate(4))
        if draw.random() < 0.7:
            job, act = self.recorder.newest(draw), client.cancel
        else:
            job, act = self.recorder.ended_badly(draw), client.retry
        if job is not None:
            act(job)

    def _push(self, client: Client, draw: random.Random) -> None:
        if self._due(draw):
            intent = self.wishes.next(pushed=True)
            self.recorder.mean(intent)
            self._pusher.insist(intent)

    def _insist(self, draw: random.Random, ask: Callable[[], list[Call]]) -> None:
        """Submit under the same key until there is an answer that says yes or no."""
        for number in range(TRIES):
            if not any(call.status in AGAIN for call in ask()):
                return
            if self._stop.is_set() and number > TRIES // 2:
                return
            # Not on the stop's event: what was begun is brought to its end.
            threading.Event().wait(min(2.0, 0.1 * 2**number) * (0.5 + draw.random() / 2))

    def _body(self, intent: Intent, draw: random.Random) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": intent.model,
            "inputs": {"text": [intent.input]},
            "priority": draw.choice(LANES),
            "metadata": {"key": intent.key},
        }
        if intent.webhook:
            body["webhook"] = {"url": self.place.sink, "events": ["job.completed"]}
        return body
