"""What a client does, over and over: each mode's session.

wait   POST with `Prefer: wait`: one request a job
poll   POST, then `GET ?wait=30` until it is done
batch  POST of many jobs to `jobs:batch`, body after body until the burst is sent; then each body's last job is polled
plain  POST, then GET after a pause that doubles with each, since the plain app has no long poll
"""

import json
import time
from collections.abc import Callable, Generator, Iterator
from itertools import count
from typing import Any

from bench.answers import Check, demand, last_id, pending, quoted, unfinished
from bench.clients import Answer, LoadError, Session, Target
from bench.timing import Log

#: The plain app's users pause before a look, seconds: first, and longest. Doubling asks less often than most would.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.005, 0.1
#: Requests that take turns; bodies of many jobs are larger, so there are fewer.
BODIES = 4

MODES = ("wait", "poll", "batch", "plain")

now = time.perf_counter
#: Yields looks, returns how many there were.
Looking = Generator[bytes | float, Answer, int]


class Sessions:
    """Makes the sessions of one measurement; requests are made once, before the clock runs, and shared."""

    def __init__(self, target: Target, workload: dict[str, Any], mode: str) -> None:
        self._target = target
        self._name, self._per_body, self._burst = str(workload["name"]), int(workload["per_body"]), workload["bodies"]
        self._check = Check(workload["output"], workload["expected"], workload["tolerance"])
        self._inputs = [compact(inputs) for inputs in workload["inputs"]]
        self._session: Callable[[int], Session] = getattr(self, mode)
        self._requests = self._bodies() if mode == "batch" else self._posts(mode)

    def make(self, clients: int, log: Log) -> list[Session]:
        self._log, self._clients = log, clients
        return [self._session(first) for first in range(clients)]

    def _posts(self, mode: str) -> list[bytes]:
        if mode == "plain":
            return [self._target.post("/jobs", inputs) for inputs in self._inputs]
        headers = "Prefer: wait=30\r\n" if mode == "wait" else ""
        return [self._target.post("/v1/jobs", self._job(inputs), headers) for inputs in self._inputs]

    def _bodies(self) -> list[bytes]:
        jobs = [self._job(inputs) for inputs in self._inputs]
        lists = ([jobs[self._place(body, index)] for index in range(self._per_body)] for body in range(BODIES))
        return [self._target.post("/v1/jobs:batch", b"[" + b",".join(one) + b"]") for one in lists]

    def _job(self, inputs: bytes) -> bytes:
        return b'{"model":"%s","inputs":%s}' % (self._name.encode(), inputs)

    def _place(self, body: int, index: int) -> int:
        """Which of the inputs stands in that place of that body."""
        return (body * self._per_body + index) % len(self._inputs)

    def _turns(self, first: int) -> Iterator[int]:
        """Whose turn it is, each client beginning elsewhere, until the time is over."""
        for number in count(first):
            if not self._log.open():
                return
            yield number % len(self._requests)

    def wait(self, first: int) -> Session:
        for which in self._turns(first):
            began = now()
            answer = yield self._requests[which]
            demand(answer, 200, b'"status":"succeeded"')
            self._check.penstock(which, answer)
            self._log.done(began)

    def poll(self, first: int) -> Session:
        for which in self._turns(first):
            began = now()
            answer = yield self._requests[which]
            demand(answer, 202, b'"id":"')
            looks = yield from self._long_poll(which, quoted(answer.body, b'"id":"'))
            self._log.done(began, looks=looks)

    def _long_poll(self, which: int, id: bytes) -> Looking:
        look = self._target.get(b"/v1/jobs/" + id + b"?wait=30")
        looks = 1
        answer = yield look
        while unfinished(answer.body):
            looks += 1
            answer = yield look
        demand(answer, 200, b'"status":"succeeded"')
        self._check.penstock(which, answer)
        return looks

    def batch(self, first: int) -> Session:
        waiting: list[tuple[int, bytes]] = []
        for number in range(first, self._burst, self._clients):
            which, began = number % len(self._requests), now()
            answer = yield self._requests[which]
            demand(answer, 200, b'"id":"')
            if (accepted := answer.body.count(b'"job":{')) != self._per_body:
                raise LoadError(f"{accepted} of {self._per_body} jobs were accepted: {answer.body[-500:]!r}")
            self._log.accepted(began, self._per_body)
            waiting.append((self._place(which, self._per_body - 1), last_id(answer.body)))
        for one in waiting:
            yield from self._long_poll(*one)
            self._log.drained(self._per_body)

    def plain(self, first: int) -> Session:
        for which in self._turns(first):
            began = now()
            answer = yield self._requests[which]
            demand(answer, 202, b'"id":"')
            look = self._target.get(b"/jobs/" + quoted(answer.body, b'"id":"'))
            yield FIRST_PAUSE_S
            looks, answer = 1, (yield look)
            while pending(answer.body):
                yield min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**looks)
                looks, answer = looks + 1, (yield look)
            demand(answer, 200, b'"status":"SUCCESS"')
            self._check.plain(which, answer)
            self._log.done(began, looks=looks)


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
