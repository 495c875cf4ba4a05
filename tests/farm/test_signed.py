"""A farm whose messages are signed: everything works as before, and nobody who reaches the broker makes a job."""

import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection

from storage.refused import Refused
from tasks.app import ORCHESTRATOR_QUEUE, WEBHOOK_QUEUE, WORKER_QUEUE, make_app
from tasks.message import new_id
from tasks.signing import Signing
from tests.farm.harness import Farm
from tests.farm.repository import build
from tests.services.valkey import valkey_service

X = [float(number) for number in range(16)]
KEY, FORMER = "this-is-a-key-of-the-tests-alone!", "the-key-that-was-in-force-before-it"
pytestmark = [pytest.mark.farm, pytest.mark.xdist_group("signed")]


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    folder = tmp_path_factory.mktemp("s")
    store = valkey_service(folder)
    store.start()
    made = Farm(folder, build(folder / "models"), {"store": store}, {"PENSTOCK_SIGNING_KEY": f"{KEY},{FORMER}"})
    try:
        made.start()
        made.wait_ready()
        yield made
    finally:
        made.close()


def message(**fields: Any) -> bytes:
    base = {"v": 1, "id": new_id(), "model": "echo", "version": "1", "inputs": {"x": X}, "tenant": "acme"}
    return json.dumps(base | fields).encode()


def push(farm: Farm, *bodies: bytes, queue: str = "cpu.echo.1.normal", **properties: Any) -> None:
    """As anybody does who reaches the broker."""
    with Connection(farm.settings.queue_url) as connection:
        channel = connection.channel()
        for body in bodies:
            given = {"content_type": "application/json", "content_encoding": "utf-8"} | properties
            channel.basic_publish(channel.prepare_message(body, **given), exchange="", routing_key=queue)


def refused(farm: Farm) -> list[str]:
    return [seen.refusal.reason for seen in Refused(farm.redis).newest(100)]


def test_submitted_jobs_pipelines_and_retries_carry_their_signature(farm: Farm, tmp_path: Path) -> None:
    with farm.client() as client:
        assert client.run("echo", {"x": X}) == {"y": [X]}
        job = client.jobs.submit("trouble", {"do": f"once {tmp_path / 'mark'}"}, max_attempts=2)
        ended = client.jobs.wait(job, timeout_s=60)
        assert (ended.status, ended.attempt) == ("succeeded", 2)
    assert refused(farm) == []


def test_message_that_was_lost_is_published_anew_with_its_signature(farm: Farm) -> None:
    farm.stop("worker-cpu")
    with farm.client() as client:
        job = client.jobs.submit("echo", {"x": X})
        farm.redis.delete("cpu.echo.1.normal")
        farm.start("worker-cpu")
        assert client.jobs.wait(job, timeout_s=90).outputs == {"y": [X]}


def test_forged_messages_make_no_job_and_are_shown(farm: Farm) -> None:
    other, ours = Signing([b"another-key-of-somebody-else-here"]), Signing([KEY.encode()])
    before = len(refused(farm))
    ids = [new_id() for _ in range(4)]
    bodies = [
        message(id=ids[0]),
        other.sign(message(id=ids[1])),
        ours.sign(message(id=ids[2])).replace(b'"acme"', b'"umbr"'),
        message(id=ids[3], sig="v1," + "A" * 43 + "="),
    ]
    push(farm, *bodies)
    farm.until(lambda: len(refused(farm)) == before + 4, "all four are shown")
    assert [farm.jobs.get(id) for id in ids] == [None] * 4
    assert all("sign" in reason for reason in refused(farm)[:4])
    log = farm.log("worker-cpu")
    assert log.count("message refused") >= 4
    assert not [id for id in ids if id in log]


def test_messages_signed_by_either_key_are_run(farm: Farm) -> None:
    for key in (KEY, FORMER):
        id = new_id()
        push(farm, Signing([key.encode()]).sign(message(id=id)))
        farm.until(lambda id=id: (job := farm.jobs.get(id)) and job.terminal, "it has run")  # type: ignore[misc]
        job = farm.jobs.get(id)
        assert job is not None
        assert (job.status.value, job.tenant) == ("succeeded", "acme")


def test_recorded_message_that_is_sent_again_is_the_same_job(farm: Farm) -> None:
    with farm.client() as client:
        job = client.jobs.submit("echo", {"x": X})
        client.jobs.wait(job, timeout_s=60)
    record = farm.jobs.get(job.id)
    assert record is not None
    push(farm, record.message, record.message)
    with farm.client() as client:
        client.run("echo", {"x": X})
    again = farm.jobs.get(job.id)
    assert again is not None
    assert (again.attempt, again.outputs) == (record.attempt, record.outputs)


class Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (Path.touch, (self.mark,))


def forged_tasks(mark: Path) -> list[tuple[bytes, dict[str, Any]]]:
    """Bodies and properties of what a Celery worker must not run."""
    pickled = pickle.dumps(Bomb(mark))
    yaml = f"!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{mark}']]".encode()
    args = json.dumps([["x"], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]).encode()
    known = {"lang": "py", "task": "penstock.webhooks.send", "id": "1"}
    python = {"content_type": "application/x-python-serialize", "content_encoding": "binary"}
    return [
        (pickled, python | {"headers": known}),
        (pickled, python | {"headers": {"task": "celery.backend_cleanup", "id": "2"}}),
        (pickled, python),
        (yaml, {"content_type": "application/x-yaml", "headers": known}),
        (args, {"headers": {"task": "os.system", "id": "3"}}),
        (args, {"headers": {"task": "celery.accumulate", "id": "4"}}),
        (args, {"headers": {"task": "nothing"}}),
        (args, {"headers": {"task": ["a"], "id": "5"}}),
        (args, {}),
        (b'{"task": "os.system", "args": ["x"]}', {}),
        (b"\xff\xfe", {}),
        (b"null", {"headers": {"task": None, "id": None}}),
        (json.dumps([[1] * 50, {"x": 1}, {}]).encode(), {"headers": known}),
        (b"[" * 50_000 + b"]" * 50_000, {"headers": known}),
    ]


@pytest.mark.parametrize("queue", [ORCHESTRATOR_QUEUE, WEBHOOK_QUEUE, WORKER_QUEUE])
def test_forged_celery_tasks_are_neither_run_nor_deadly(farm: Farm, tmp_path: Path, queue: str) -> None:
    process = "worker-cpu" if queue == WORKER_QUEUE else "orchestrator"
    before, mark = farm.log(process).count("refused a task"), tmp_path / "run"
    counted = farm.jobs.counters().get("refused_messages", 0)
    tasks = forged_tasks(mark)
    for body, properties in tasks:
        push(farm, body, queue=queue, **properties)
    farm.until(lambda: farm.log(process).count("refused a task") >= before + len(tasks), "all are told of")
    farm.until(lambda: farm.jobs.counters()["refused_messages"] >= counted + len(tasks), "all are counted")
    with farm.client() as client:
        assert client.run("echo", {"x": X}) == {"y": [X]}
        once = client.jobs.submit("trouble", {"do": f"once {tmp_path / 'once'}"}, max_attempts=2)
        assert client.jobs.wait(once, timeout_s=60).status == "succeeded"
    assert not mark.exists()
    assert farm.processes[process].poll() is None


def test_nobody_can_shut_a_worker_down_by_a_message(farm: Farm) -> None:
    app = make_app(farm.settings)
    for command in ("shutdown", "pool_shutdown", "revoke", "rate_limit"):
        app.control.broadcast(command, reply=False)
    assert app.control.ping(timeout=1.0) == []
    with farm.client() as client:
        assert client.run("echo", {"x": X}) == {"y": [X]}
    assert {name for name, process in farm.processes.items() if process.poll() is not None} == set()
