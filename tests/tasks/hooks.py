"""A farm's webhooks in this process: a real store, a clock that a test moves, and a receiver that answers as told."""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from storage.connection import Client
from storage.deliveries import Deliveries, Delivery
from storage.job import Job, Status
from storage.jobs import JobStore, Outcome, Want
from storage.scorings import Scorings
from storage.webhooks import Endpoints
from tasks.message import VERSION, Message, Webhook
from tasks.webhooks.delivering import Deliverer
from tasks.webhooks.expanding import Expander
from tasks.webhooks.sending import Answer

URL = "https://erp.example/hook?token=1"
BASE = "https://farm.example"
OK = Answer(204, 3.0, b"")


class Clock:
    def __init__(self) -> None:
        # Near to now: what Redis keeps for a while, and the public library's patience, go by their own clocks.
        self.ms = time.time_ns() // 10**9 * 1000

    def __call__(self) -> int:
        return self.ms


class Sent(NamedTuple):
    url: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Hooks:
    def __init__(self, store: Client) -> None:
        self.store = store
        self.clock = Clock()
        self.jobs = JobStore(store, now_ms=self.clock)
        self.endpoints = Endpoints(store, now_ms=self.clock)
        self.deliveries = Deliveries(store, now_ms=self.clock)
        self.scorings = Scorings(store, now_ms=self.clock)
        self.expander = Expander(self.jobs, self.scorings, self.endpoints, self.deliveries, base=BASE)
        self.deliverer = Deliverer(self.endpoints, self.deliveries, self.post, chance=lambda: 0.5)
        self.sent: list[Sent] = []
        #: What the receiver answers, or raises.
        self.respond: Callable[[Sent], Answer] = lambda _: OK

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        self.sent.append(Sent(url, headers, body))
        return self.respond(self.sent[-1])

    def submit(self, id: str = "job_1", *, events: tuple[str, ...] | None = ("job.completed",), **more: Any) -> Job:
        webhook = None if events is None else Webhook(URL, events)
        message = Message(
            v=VERSION, id=id, model="echo", version="1", tenant="acme", webhook=webhook,
            **{"inputs": msgspec.Raw(b'{"x":[1]}'), **more},
        )  # fmt: skip
        self.jobs.create(message.record(message.encode(), now_ms=self.clock.ms))
        return self.job(id)

    def job(self, id: str = "job_1") -> Job:
        job = self.jobs.get(id)
        assert job is not None
        return job

    def start(self, id: str = "job_1") -> int:
        want = Want(id, self.job(id).queue, False, f"w/{self.clock.ms}")
        (claim,) = self.jobs.claim_all([want], device="cpu:0", losses_allowed=2, lost_error=b"{}")
        return claim.token

    def finish(self, id: str = "job_1", *, status: Status = Status.SUCCEEDED, **more: Any) -> None:
        self.start(id)
        self.commit(status, id, **more)

    def commit(self, status: Status, id: str = "job_1", **more: Any) -> None:
        """End a job that runs."""
        if status is Status.SUCCEEDED:
            more = {"outputs": b'{"y":0}'} | more
        job = self.job(id)
        self.jobs.finish_all([Outcome(id=id, queue=job.queue, token=job.attempt, status=status, **more)])

    def expand(self) -> int:
        return self.expander.tick(limit=100)

    def work(self) -> None:
        """Expand and send everything that is due."""
        self.expand()
        for target in self.deliveries.due(limit=100):
            if self.deliveries.dispatch(target):
                self.deliverer.drain(target)

    def delivery(self, id: str = "job_1", number: int = 0) -> Delivery:
        return self.deliveries.of(id)[number]
