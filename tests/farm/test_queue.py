"""What lies in a queue is never lost and never rots: purged, given up, unreadable, full, or without a record."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from kombu import Connection
from penstock import Job, Penstock, Submission

from storage import keys
from storage.clock import wall_ms
from tasks.message import VERSION, Message, Webhook, new_id
from tasks.topology import DELIVERY_LIMIT
from tests.chaos.servers import control
from tests.farm.harness import Farm, submit_all

X = [float(n) for n in range(16)]
TROUBLE = "cpu.trouble.1.normal"
ECHO_LOW = "cpu.echo.1.low"


def message(farm: Farm, **more: Any) -> Message:
    raw = msgspec.Raw(json.dumps({"x": X}).encode())
    fields: dict[str, Any] = {"v": VERSION, "id": new_id(), "model": "echo", "version": "1", "inputs": raw}
    return Message(**fields | {"tenant": "local" if farm.settings.embedded else "acme"} | more)


@contextmanager
def channel(farm: Farm) -> Iterator[Any]:
    with Connection(farm.settings.queue_url) as connection, connection.channel() as found:
        yield found


def push(found: Any, farm: Farm, queue: str, body: bytes, **properties: Any) -> None:
    content = {"content_type": "application/json", "content_encoding": "utf-8"}
    one = found.prepare_message(body, properties=properties, **content)
    found.basic_publish(one, exchange="" if farm.settings.embedded else "penstock.jobs", routing_key=queue)


def sleeping(count: int) -> list[Submission]:
    return [{"model": "trouble", "inputs": {"do": "sleep 0.02"}} for _ in range(count)]


class Load:
    """Keeps a lane from ever being empty, until it is told to stop."""

    def __init__(self, farm: Farm) -> None:
        self.farm = farm
        self.jobs: list[Job] = []
        #: The fewest that were seen to wait.
        self.fewest = 10**6
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with self.farm.client() as client, channel(self.farm) as found:
            while not self._stop.wait(0.05):
                ready = found.queue_declare(TROUBLE, passive=True).message_count if self.jobs else 0
                if self.jobs:
                    self.fewest = min(self.fewest, ready)
                if ready < 60:
                    self.jobs += submit_all(client, sleeping(60))


def test_queue_purged_under_load_loses_no_job_though_it_is_never_empty_again(farm: Farm) -> None:
    with farm.client() as client:
        lost = submit_all(client, sleeping(120))
        with channel(farm) as found:
            found.queue_purge(TROUBLE)
        with Load(farm) as load:
            ended = [client.jobs.wait(job, timeout_s=90) for job in lost]
        rest = [client.jobs.wait(job, timeout_s=90) for job in load.jobs]
    assert {(job.status, job.worker_losses) for job in [*ended, *rest]} == {("succeeded", 0)}
    assert load.fewest > 0, "the queue ran empty: this shows nothing"


def test_record_that_was_lost_is_made_anew_from_the_message(farm: Farm) -> None:
    farm.stop("worker-cpu")
    with farm.client() as client, farm.http() as http:
        job = client.jobs.submit("echo", {"x": X}, metadata={"order": "A-17"}, idempotency_key="lost-record")
        record = farm.jobs.get(job.id)
        assert record is not None
        farm.redis.delete(keys.job(job.id))
        farm.redis.zrem(keys.waiting(record.queue), job.id)
        farm.redis.zrem(keys.tenant_jobs(record.tenant), job.id)
        assert http.get(f"/v1/jobs/{job.id}").status_code == 404
        pushed = message(farm, webhook=Webhook("https://hooks.example/"), metadata={"order": "B"})
        with channel(farm) as found:
            push(found, farm, pushed.queue, pushed.encode())
        farm.start("worker-cpu")
        farm.until(lambda: http.get(f"/v1/jobs/{job.id}").status_code == 200, "the record is back", 60)
        done = client.jobs.wait(job, timeout_s=30)
        assert (done.status, done.outputs, done.metadata) == ("succeeded", {"y": [X]}, {"order": "A-17"})
        again = client.jobs.submit("echo", {"x": X}, metadata={"order": "A-17"}, idempotency_key="lost-record")
        assert again.id == job.id
        farm.until(lambda: farm.jobs.get(pushed.id), "the pushed one has a record")
        assert client.jobs.wait(pushed.id, timeout_s=30).status == "succeeded"
        made = farm.jobs.get(pushed.id)
        assert made is not None
        assert (made.webhook, made.events) == ("job.completed", 1)


def test_message_that_nobody_can_read_fails_its_job_and_an_admin_sees_it(farm: Farm) -> None:
    good = message(farm)
    bad = good.encode().replace(b'"v":1', b'"v":99')
    mark = f"not json {new_id()}".encode()
    farm.jobs.create(good.record(bad, now_ms=wall_ms()))
    victim = message(farm)
    farm.jobs.create(victim.record(victim.encode(), now_ms=wall_ms()))
    with channel(farm) as found, farm.client() as client:
        for body in (bad, mark, victim.encode().replace(b'"v":1', b'"v":98')):
            push(found, farm, good.queue, body)
        farm.until(lambda: failed(farm, good.id), "the job whose message that is fails")
        told = farm.until(lambda: refusals(client, mark), "it is seen")
        assert (told[0]["queue"], told[0]["bytes"]) == (good.queue, len(mark))
        # Somebody else's bad message under its id is no reason to fail a job: its own message is published anew.
        assert client.jobs.wait(victim.id, timeout_s=60).outputs == {"y": [X]}


def test_invalid_input_is_tried_once(farm: Farm, tmp_path: Path) -> None:
    book = tmp_path / "book"
    with farm.client() as client:
        job = client.jobs.submit("trouble", {"do": [f"count {book}", "invalid"]}, max_attempts=3)
        done = client.jobs.wait(job, timeout_s=30)
    assert (done.status, done.attempt, done.failures) == ("failed", 1, 1)
    assert book.read_text() == "x"


def test_failed_attempts_are_counted_and_failed_jobs_come_back_by_filter(farm: Farm, tmp_path: Path) -> None:
    with farm.client() as client:
        retried = client.jobs.submit("trouble", {"do": f"once {tmp_path / 'one'}"}, max_attempts=2)
        done = client.jobs.wait(retried, timeout_s=30)
        assert (done.status, done.attempt, done.failures, done.interruptions) == ("succeeded", 2, 1, 0)
        batch = {"batch": str(tmp_path.name)}
        marks = [str(tmp_path / f"mark-{n}") for n in range(5)]
        # One by one: in a batch that raises, each would be run again alone.
        jobs = [
            client.jobs.submit("trouble", {"do": f"once {mark}"}, max_attempts=1, metadata=batch, wait_s=30)
            for mark in marks
        ]
        assert {job.status for job in jobs} == {"failed"}
        assert client.dead_letters.plan(metadata=batch).matched == 5
        begun = client.dead_letters.replay(metadata=batch, rate=50)
        assert client.dead_letters.wait(begun, timeout_s=30).replayed == 5
        ended = [client.jobs.wait(job, timeout_s=30) for job in jobs]
        assert {(job.status, job.replays) for job in ended} == {("succeeded", 1)}
        assert list(client.dead_letters.list(metadata=batch)) == []


def refusals(client: Penstock, body: bytes) -> list[dict[str, Any]]:
    return [one for one in client.refused_messages(limit=1000) if one["begins"] == body.decode()]


def failed(farm: Farm, id: str) -> bool:
    job = farm.jobs.get(id)
    return job is not None and job.status == "failed"


def only_servers(farm: Farm) -> None:
    if farm.settings.embedded:
        pytest.skip("the embedded store gives no message up, and knows no alarm")


def test_what_the_broker_gives_up_becomes_a_failed_job(farm: Farm) -> None:
    only_servers(farm)
    farm.stop("worker-cpu")
    expired, delivered, unknown = (message(farm, priority="low") for _ in range(3))
    for one in (expired, delivered):
        farm.jobs.create(one.record(one.encode(), now_ms=wall_ms()))
    mark = f"not json {new_id()}".encode()
    with channel(farm) as found:
        found.queue_purge(ECHO_LOW)
        push(found, farm, ECHO_LOW, delivered.encode())
        for _ in range(DELIVERY_LIMIT + 1):
            got = farm.until(lambda: found.basic_get(ECHO_LOW, no_ack=False), "it comes again")
            found.basic_reject(got.delivery_tag, requeue=True)
        for body in (expired.encode(), unknown.encode(), mark):
            push(found, farm, ECHO_LOW, body, expiration="1")
    farm.start("worker-cpu")
    with farm.client() as client:
        for one, why in ((delivered, "delivery limit"), (expired, "expired")):
            job = client.jobs.wait(one.id, timeout_s=60)
            assert (job.status, job.error and job.error.code) == ("failed", "attempts_exhausted")
            assert why in str(job.error)
        farm.until(lambda: farm.jobs.get(unknown.id), "a record is made of the message")
        assert client.jobs.wait(unknown.id, timeout_s=30).status == "failed"
        seen = farm.until(lambda: refusals(client, mark), "it is seen")
        assert "given up by the broker (expired)" in seen[0]["reason"]


def refused(farm: Farm, client: Penstock, priority: str = "normal") -> str:
    """The code that a submission is refused with; empty for one that is taken."""
    with farm.http() as http:
        answer = http.post("/v1/jobs", json={"model": "echo", "inputs": {"x": X}, "priority": priority})
        if answer.status_code == 202:
            return ""
        assert int(answer.headers["Retry-After"]) >= 1
        return f"{answer.status_code} {answer.json()['code']}"


def test_broker_under_a_memory_alarm_is_503_and_recovers_by_itself(farm: Farm) -> None:
    only_servers(farm)
    broker = farm.services["broker"]
    with farm.client() as client:
        control(broker, "set_vm_memory_high_watermark", "0.00001")
        try:
            farm.until(lambda: refused(farm, client) == "503 broker_unavailable", "it is refused")
        finally:
            control(broker, "set_vm_memory_high_watermark", "0.4")
        farm.until(lambda: refused(farm, client) == "", "it is taken again")
        assert client.run("echo", {"x": X}) == {"y": [X]}


def test_full_queue_of_the_broker_is_503_and_recovers_by_itself(farm: Farm) -> None:
    only_servers(farm)
    broker = farm.services["broker"]
    farm.stop("worker-cpu")
    with farm.client() as client:
        policy = ["--apply-to", "queues", "short", r"^cpu\.echo\.1\.low$", '{"max-length":3}']
        control(broker, "set_policy", *policy)
        try:
            farm.until(lambda: refused(farm, client, "low") == "503 broker_unavailable", "it is refused")
        finally:
            control(broker, "clear_policy", "short")
        farm.until(lambda: refused(farm, client, "low") == "", "it is taken again")
        farm.start("worker-cpu")
        assert client.run("echo", {"x": X}, priority="low") == {"y": [X]}
