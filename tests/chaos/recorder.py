"""What the clients of a run asked and were told, gathered from all their threads; and what is still to come."""

import random
import threading
import time
from collections import deque

from tests.chaos.history import Call, Intent


class Recorder:
    """Thread-safe. Times are of the monotonic clock."""

    def __init__(self) -> None:
        self.intents: dict[str, Intent] = {}
        self.calls: list[Call] = []
        #: Accepted jobs, by id, and when each was asked for.
        self.accepted: dict[str, float] = {}
        #: Jobs whose end was announced, and when.
        self.ended: dict[str, float] = {}
        self.guard = threading.Lock()
        self._followed: deque[str] = deque()
        self._models: dict[str, str] = {}
        #: Jobs that somebody has wanted to cancel.
        self._unwanted: set[str] = set()
        #: The newest jobs that ended otherwise than with success.
        self._badly: deque[str] = deque(maxlen=100)

    def mean(self, intent: Intent) -> None:
        with self.guard:
            self.intents[intent.key] = intent

    def note(self, call: Call) -> None:
        with self.guard:
            self.calls.append(call)
            if call.accepted and call.job not in self.accepted:
                self.accepted[call.job] = call.began
                self._followed.append(call.job)
                self._models[call.job] = self.intents[call.key].model
            if call.op == "cancel":
                self._unwanted.add(call.job)
            if call.state in ("failed", "canceled", "expired"):
                self._badly.append(call.job)

    def announce(self, ids: list[str]) -> None:
        """The store said that these jobs ended."""
        now = time.monotonic()
        with self.guard:
            for id in ids:
                self.ended.setdefault(id, now)

    def first_ends(self, since: float) -> dict[str, float]:
        """By model: when the first job ended that was submitted after `since` and that nobody wanted to cancel."""
        found: dict[str, float] = {}
        with self.guard:
            for id, at in self.accepted.items():
                if at >= since and id in self.ended and id not in self._unwanted:
                    model = self._models[id]
                    found[model] = min(found.get(model, self.ended[id]), self.ended[id])
        return found

    def follow(self) -> str | None:
        """A job to look at; None while there is none."""
        with self.guard:
            return self._followed.popleft() if self._followed else None

    def follow_on(self, job: str) -> None:
        """Look at it again, later."""
        with self.guard:
            self._followed.append(job)

    def newest(self, draw: random.Random) -> str | None:
        """One of the newest jobs that have not ended, as far as is known."""
        with self.guard:
            fit = [id for id in list(self.accepted)[-300:] if id not in self.ended]
        return draw.choice(fit) if fit else None

    def ended_badly(self, draw: random.Random) -> str | None:
        with self.guard:
            return draw.choice(self._badly) if self._badly else None

    @property
    def open(self) -> int:
        """Accepted jobs whose end was not announced; some announcements are lost."""
        return len(self.accepted) - len(self.ended)
