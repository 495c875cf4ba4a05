"""A gateway in this process, over a real store, broker and folder, and a hand that does what a worker would."""

import json
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from flask import Flask

from gateway.app import create_app, lanes
from gateway.parts import Parts
from gateway.waiting import Waiting
from models.repository import Repository
from settings import Settings
from storage.access import Access
from storage.connection import connect
from storage.deadletters import DeadLetters
from storage.deliveries import Deliveries
from storage.deployments import Deployments
from storage.job import Job, Status
from storage.jobs import JobStore, Outcome, Verdict, Want
from storage.objects import open_objects
from storage.quotas import Quotas
from storage.refused import Refused
from storage.scorings import Scorings
from storage.webhooks import Endpoints
from storage.workers import ModelState, ModelStatus, Workers, WorkerStatus
from tasks.publisher import Publisher
from tests.services.valkey import Valkey

X = [1.0, 2.0, 3.0, 4.0]
ECHO: dict[str, Any] = {"model": "echo", "inputs": {"x": X}}


class Ticks:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Gate:
    app: Flask
    store: "redis.Redis"
    workers: Workers
    closing: list[Any] = field(default_factory=list)

    @property
    def parts(self) -> Parts:
        parts: Parts = self.app.extensions["penstock"]
        return parts

    @property
    def client(self) -> Any:
        """Flask's test client; its answers' `json` is what it is, so no type stands in the way."""
        return self.app.test_client()

    def submit(self, submission: Mapping[str, Any] = ECHO, **headers: str) -> str:
        """Submit and expect to be accepted; the job's id."""
        answer = self.client.post("/v1/jobs", json=submission, headers=named(headers))
        assert answer.status_code in (200, 202), answer.text
        return str(answer.json["id"])

    def record(self, id: str) -> Job:
        job = self.parts.jobs.get(id)
        assert job is not None
        return job

    def queued(self, queue: str = "cpu.echo.1.normal") -> list[dict[str, Any]]:
        """The messages in one of the broker's queues, oldest first."""
        envelopes = [json.loads(text) for text in self.store.lrange(queue, 0, -1)]
        return [json.loads(b64decode(envelope["body"])) for envelope in reversed(envelopes)]

    def start(self, id: str) -> int:
        """Claim a job as a worker does; its token."""
        job = self.record(id)
        (claim,) = self.parts.jobs.claim_all(
            [Want(id, job.queue, False, "here")], device="cpu:0", losses_allowed=2, lost_error=b"{}"
        )
        assert claim.verdict is Verdict.RUN
        return claim.token

    def finish(self, id: str, outputs: object = None, **fields: Any) -> None:
        """Run a job to its end as a worker does."""
        job = self.record(id)
        token = self.start(id)
        given: dict[str, Any] = {"status": Status.SUCCEEDED, "compute_ms": 1.5} | fields
        if given["status"] is Status.SUCCEEDED and "outputs_key" not in given:
            given["outputs"] = json.dumps({"y": [X]} if outputs is None else outputs).encode()
        answers = self.parts.jobs.finish_all([Outcome(id=id, queue=job.queue, token=token, **given)])
        assert answers == [given["status"].value]

    def serve(self, model: str = "echo", state: ModelState = "ready", **fields: Any) -> None:
        """Say that a worker serves a model; `figures` is what it did since the last time."""
        figures = fields.pop("figures", {})
        status = ModelStatus(model=model, version=fields.pop("version", "1"), state=state, **fields)
        name = f"w-{model}-{status.version}"
        self.workers.beat(
            WorkerStatus(name=name, pool="cpu", started_ms=1, models=(status,)),
            now_ms=self.parts.jobs.now_ms(),
            figures={(model, status.version): figures},
        )

    def close(self) -> None:
        self.parts.toll.close()
        self.parts.waiting.close()
        self.parts.submitter.close()
        self.parts.reader.close()
        self.parts.publisher.close()
        for one in self.closing:
            one.close()


def named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def make_gate(
    folder: Path, repository: Path, valkey: Valkey, *, broker: str = "", slots: int = 8, **options: Any
) -> Gate:
    """`broker`: another one than the store; `options` are settings."""
    settings = Settings(data=folder, models=repository, **options)
    client, models = connect(valkey.url), Repository(repository)
    jobs = JobStore(client)
    app = create_app(
        settings,
        jobs=jobs,
        workers=Workers(client),
        objects=open_objects(settings.objects),
        access=Access(client),
        repository=models,
        deployments=Deployments(client),
        endpoints=Endpoints(client),
        deliveries=Deliveries(client),
        dead_letters=DeadLetters(client, jobs),
        quotas=Quotas(client),
        refused=Refused(client),
        scorings=Scorings(client),
        publisher=Publisher(
            broker or valkey.queue_url, deadline_s=settings.submit_deadline_s, queues=lambda: lanes(models.catalog)
        ),
        waiting=Waiting(client, jobs, slots=slots, streams=max(1, slots // 2)),
    )
    return Gate(app, client, Workers(client), [client])
