"""A worker's look at repository and wishes: what it begins, drains and ends, and when."""

import threading
from pathlib import Path
from typing import Any, cast

import pytest
import redis

from models.catalog import Entry
from models.repository import Repository
from storage.deployments import Deployments
from storage.job import NewJob
from storage.jobs import JobStore
from storage.workers import ModelStatus, Workers, WorkerStatus
from tests.models.repository import PLAIN, write
from workers.deploying import LINGER_S, Deployer


class Serving:
    """What the deployer sees of one."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.ready, self.failed, self.stopped, self.draining, self.idle = False, False, False, False, True


class Pool:
    """Does at once what takes a worker a while."""

    pool, name = "cpu", "me"

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self.servings: tuple[Any, ...] = ()

    def add(self, entry: Entry) -> None:
        self.servings = (*self.servings, Serving(entry))

    def drain(self, serving: Serving, *, wanted: bool = False) -> None:
        serving.draining = not wanted

    def retire(self, serving: Serving) -> None:
        self.servings = tuple(one for one in self.servings if one is not serving)


class Worker:
    """A deployer over a pool, a repository and a real store, with a clock that a test moves."""

    def __init__(self, root: Path, store: "redis.Redis", *models: str) -> None:
        write(root, PLAIN)
        self.root, self.now = root, 0.0
        self.pool = Pool()
        self.deployments, self.jobs, self.workers = Deployments(store), JobStore(store), Workers(store)
        self.deployer = Deployer(
            cast(Any, self.pool),
            Repository(root, clock_s=self.clock),
            models=models,
            deployments=self.deployments,
            jobs=self.jobs,
            workers=self.workers,
            clock_s=self.clock,
        )

    def clock(self) -> float:
        return self.now

    def publish(self, version: str) -> None:
        (self.root / "plain" / version).mkdir()
        self.look()

    def look(self, after_s: float = 1.0) -> list[str]:
        """The versions held after a look."""
        self.now += after_s
        self.deployer.look()
        return self.held

    @property
    def held(self) -> list[str]:
        return [serving.entry.version for serving in self.pool.servings]

    def serving(self, version: str) -> Serving:
        found: Serving = next(serving for serving in self.pool.servings if serving.entry.version == version)
        return found


@pytest.fixture
def worker(tmp_path: Path, store: "redis.Redis") -> Worker:
    """Version 1 is ready; version 2 has come, and is ready too."""
    worker = Worker(tmp_path, store)
    assert worker.look() == ["1"]
    worker.serving("1").ready = True
    worker.publish("2")
    assert worker.look() == ["1", "2"]
    worker.serving("2").ready = True
    return worker


def wait_in(worker: Worker, version: str) -> NewJob:
    job = NewJob(
        id="job_1", tenant="local", queue=f"cpu.plain.{version}.low", message=b"{}", created_ms=1, start_by_ms=0,
        result_ttl_s=60,
    )  # fmt: skip
    worker.jobs.create(job)
    return job


def test_old_version_ends_after_it_had_nothing_to_do_for_a_while(worker: Worker) -> None:
    assert worker.look() == ["1", "2"]
    assert worker.serving("1").draining
    assert worker.look(LINGER_S - 0.1) == ["1", "2"]
    assert worker.look(0.2) == ["2"]


def test_old_version_is_held_while_it_works_or_jobs_wait_for_it(worker: Worker) -> None:
    worker.serving("1").idle = False
    assert [worker.look(LINGER_S) for _ in range(3)][-1] == ["1", "2"]
    worker.serving("1").idle = True
    wait_in(worker, "1")
    assert [worker.look(LINGER_S) for _ in range(3)][-1] == ["1", "2"]


def test_version_wanted_again_drains_no_more(worker: Worker) -> None:
    worker.look()
    worker.deployments.change("plain", lambda wish: wish.load("1"))
    assert [worker.look(LINGER_S) for _ in range(3)][-1] == ["1", "2"]
    assert not worker.serving("1").draining


def test_version_that_ended_is_begun_again_for_jobs_that_wait(worker: Worker) -> None:
    worker.look(), worker.look(LINGER_S)
    assert worker.held == ["2"]
    wait_in(worker, "1")
    assert worker.look() == ["2", "1"]


def test_jobs_that_another_worker_serves_begin_nothing(worker: Worker) -> None:
    worker.look(), worker.look(LINGER_S)
    wait_in(worker, "1")
    status = ModelStatus(model="plain", version="1", state="draining")
    other = WorkerStatus(name="other", pool="cpu", started_ms=1, models=(status,))
    worker.workers.beat(other, now_ms=worker.jobs.now_ms())
    assert worker.look() == ["2"]
    worker.workers.leave("other")
    assert worker.look() == ["2", "1"]


def test_version_that_never_was_ready_ends_at_once(worker: Worker) -> None:
    worker.serving("2").ready, worker.serving("2").failed = False, True
    worker.deployments.change("plain", lambda wish: wish.unload("2"))
    assert worker.look() == ["1"]


def test_unloaded_version_begins_again_when_it_is_loaded(worker: Worker) -> None:
    worker.deployments.change("plain", lambda wish: wish.unload("2"))
    worker.look(), worker.look(LINGER_S)
    assert worker.held == ["1"]
    worker.deployments.change("plain", lambda wish: wish.load("2"))
    assert worker.look() == ["1", "2"]


def test_store_that_is_away_leaves_policies_in_force(tmp_path: Path) -> None:
    worker = Worker(tmp_path, redis.Redis(unix_socket_path=str(tmp_path / "nothing.sock")))
    worker.look()
    assert worker.held == ["1"]


def test_worker_told_to_serve_a_pipeline_serves_the_models_of_its_steps(tmp_path: Path, store: "redis.Redis") -> None:
    step = {"name": "once", "model": "plain", "inputs": {"x": "inputs.x"}}
    pipeline = {"name": "pipe", "kind": "pipeline", "runtime": "", "steps": [step], "results": {"y": "once.y"}}
    write(tmp_path, PLAIN | pipeline, name="pipe")
    write(tmp_path, PLAIN | {"name": "other"}, name="other")
    worker = Worker(tmp_path, store, "pipe")
    worker.look()
    assert {serving.entry.manifest.name for serving in worker.pool.servings} == {"pipe", "plain"}
