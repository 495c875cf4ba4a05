"""What dies comes back, and no accepted job is lost: processes killed, servers away, clients racing."""

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import msgspec
import psutil
import pytest
from penstock import Job, Penstock

from storage.clock import wall_ms
from tasks.message import VERSION, Message, new_id
from tests.farm.harness import ROOT, Farm, submit_all

X = [float(n) for n in range(16)]
ECHO = {"model": "echo", "inputs": {"x": X}}


def test_killed_worker_gives_its_jobs_back(farm: Farm, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with farm.client() as client:
        first = client.jobs.submit("trouble", {"do": f"wait {gate}"})
        farm.until(lambda: client.jobs.get(first).status == "running", "the first runs")
        rest = submit_all(client, ({"model": "trouble", "inputs": {"do": f"w{n}"}} for n in range(20)))
        farm.kill("worker-cpu")
        gate.touch()
        farm.start("worker-cpu")
        done = [client.jobs.wait(job, timeout_s=60) for job in [first, *rest]]
    assert {job.status for job in done} == {"succeeded"}
    assert [job.outputs for job in done[1:]] == [{"did": [f"w{n}"]} for n in range(20)]
    assert (done[0].attempt, done[0].worker_losses) == (2, 1)


def test_job_whose_message_was_lost_is_published_anew(farm: Farm) -> None:
    raw = msgspec.Raw(json.dumps({"x": X}).encode())
    tenant = "local" if farm.settings.embedded else "acme"
    message = Message(v=VERSION, id=new_id(), model="echo", version="1", inputs=raw, tenant=tenant)
    farm.jobs.create(message.record(message.encode(), now_ms=wall_ms() - 20_000))
    with farm.client() as client:
        assert client.jobs.wait(message.id, timeout_s=30).outputs == {"y": [X]}


def test_executors_end_with_their_worker(farm: Farm) -> None:
    worker = psutil.Process(farm.processes["worker-cpu"].pid)
    executors = worker.children(recursive=True)
    assert len(executors) == 5
    farm.kill("worker-cpu")
    _gone, alive = psutil.wait_procs(executors, timeout=10)
    assert not alive


def test_stopped_worker_finishes_its_batch_gives_the_rest_back_and_exits_0(farm: Farm, tmp_path: Path) -> None:
    gate, book = tmp_path / "gate", tmp_path / "book"
    with farm.client() as client:
        first = client.jobs.submit("trouble", {"do": f"wait {gate}"})
        farm.until(lambda: client.jobs.get(first).status == "running", "the first runs")
        rest = submit_all(client, ({"model": "trouble", "inputs": {"do": f"count {book}"}} for _ in range(5)))
        heard = len(farm.log("worker-cpu"))
        farm.processes["worker-cpu"].terminate()
        farm.until(lambda: "worker stops" in farm.log("worker-cpu")[heard:], "the worker has heard")
        gate.touch()
        assert farm.stop("worker-cpu") == 0
        assert client.jobs.get(first).status == "succeeded"
        assert {client.jobs.get(job).status for job in rest} == {"queued"}
        farm.start("worker-cpu")
        done = [client.jobs.wait(job, timeout_s=60) for job in rest]
    assert {(job.status, job.worker_losses) for job in done} == {("succeeded", 0)}
    assert book.read_text() == "xxxxx"


def test_accepted_jobs_wait_while_there_is_no_worker(farm: Farm) -> None:
    farm.stop("worker-cpu")
    with farm.client() as client:
        job = client.jobs.submit("echo", {"x": X})
        farm.until(lambda: client.jobs.get(job).waiting_reason == "no_worker", "it says why it waits")
        assert client.jobs.get(job).status == "queued"
        farm.start("worker-cpu")
        assert client.jobs.wait(job, timeout_s=60).status == "succeeded"


def test_restarted_gateway_knows_the_jobs_it_accepted(farm: Farm) -> None:
    with farm.client() as client:
        job = client.jobs.submit("echo", {"x": X})
        server = psutil.Process(farm.processes["gateway"].pid).children()
        farm.kill("gateway")
        _gone, alive = psutil.wait_procs(server, timeout=10)
        assert not alive
        farm.start("gateway")
        farm.wait_ready()
        assert client.jobs.wait(job, timeout_s=30).outputs == {"y": [X]}


def test_sixteen_racing_submits_with_one_key_make_one_job(farm: Farm) -> None:
    start = threading.Barrier(16)

    def submit(_: int) -> tuple[int, str]:
        with farm.http() as http:
            start.wait()
            answer = http.post("/v1/jobs", json=ECHO, headers={"Idempotency-Key": f"race-{farm.port}"})
            return answer.status_code, answer.json().get("id", answer.text)

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(submit, range(16)))
    assert {status for status, _ in answers} <= {200, 202}
    assert len({id for _, id in answers}) == 1
    with farm.http() as http:
        body = ECHO | {"metadata": {"a": 1}}
        other = http.post("/v1/jobs", json=body, headers={"Idempotency-Key": f"race-{farm.port}"})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")


def test_gigabyte_body_is_refused_while_it_streams_and_memory_stays_flat(farm: Farm) -> None:
    processes = [psutil.Process(farm.processes["gateway"].pid)]
    processes += processes[0].children(recursive=True)
    before = sum(process.memory_info().rss for process in processes)
    sent = 0

    def gigabyte() -> Iterator[bytes]:
        nonlocal sent
        chunk = b" " * 2**20
        for _ in range(1024):
            sent += len(chunk)
            yield chunk

    with farm.http() as http:
        try:
            # No Content-Length: the gateway has to count.
            answer = http.post("/v1/jobs", content=gigabyte(), headers={"Content-Type": "application/json"})
            assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")
        except OSError:
            pass  # refused so early that the rest could not be sent
    after = sum(process.memory_info().rss for process in processes)
    assert after - before < 64 * 2**20
    assert sent < 2**30
    with farm.client() as client:
        assert client.run("echo", {"x": X}) == {"y": [X]}


def running(client: Penstock, job: Job) -> bool:
    return client.jobs.get(job).status == "running"


def stores(farm: Farm) -> list[str]:
    """The server that holds the records, and the one that holds the queue where it is another."""
    return ["store"] if farm.settings.embedded else ["broker", "redis"]


def test_submit_while_a_server_is_away_is_refused_within_5_s_and_nothing_is_half_accepted(farm: Farm) -> None:
    with farm.http() as http, farm.client() as client:
        known = {job.id for job in client.jobs.list()}
        for name in stores(farm):
            farm.services[name].kill()
            began = time.monotonic()
            answer = http.post("/v1/jobs", json=ECHO)
            took_s = time.monotonic() - began
            farm.services[name].start()
            farm.wait_ready()
            assert answer.status_code == 503, answer.text
            assert answer.json()["code"] in ("broker_unavailable", "store_unavailable")
            assert int(answer.headers["Retry-After"]) >= 1
            assert took_s < 5
        assert {job.id for job in client.jobs.list()} == known
        accepted = http.post("/v1/jobs", json=ECHO, headers={"Prefer": "wait=20"})
        assert accepted.json()["status"] == "succeeded"


def test_work_resumes_when_a_server_that_went_away_in_the_middle_is_back(farm: Farm, tmp_path: Path) -> None:
    for name in stores(farm):
        gate = tmp_path / name
        with farm.client() as client:
            first = client.jobs.submit("trouble", {"do": f"wait {gate}"})
            farm.until(partial(running, client, first), "the first runs")
            rest = submit_all(client, ({"model": "trouble", "inputs": {"do": f"w{n}"}} for n in range(20)))
            # A clean stop: the promise about power loss depends on how often the store writes to disk.
            farm.services[name].stop()
            gate.touch()
            farm.services[name].start()
            done = [client.jobs.wait(job, timeout_s=90) for job in [first, *rest]]
        assert {job.status for job in done} == {"succeeded"}
        assert [job.outputs for job in done[1:]] == [{"did": [f"w{n}"]} for n in range(20)]


def test_plain_pika_pushes_a_job_and_reads_its_result(farm: Farm) -> None:
    if farm.settings.embedded:
        pytest.skip("AMQP needs RabbitMQ")
    # Kombu writes the vhost `/` as `//`, everybody else as `/%2F`.
    broker = farm.settings.broker_url.removesuffix("//") + "/%2F"
    command = [
        sys.executable, "examples/push.py", "--broker", broker, "--redis", farm.settings.redis_url,
        "--model", "echo", "--inputs", json.dumps({"x": X}), "--tenant", "acme",
    ]  # fmt: skip
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == {"y": [X]}
    id = re.search(r"pushed (\S+)", run.stderr)
    with farm.client() as client:
        assert id is not None
        assert client.jobs.get(id[1]).status == "succeeded"


HEAD = b'"v": 1, "id": "bad", "model": "echo", "version": "1", "inputs": {}'
BAD_MESSAGES = [
    b"not json",
    b'{"v": 99, "id": "a", "model": "echo", "version": "1", "inputs": {}}',
    b"{" + HEAD + b', "metadata": {"k": "\xff"}}',
    b"{" + HEAD + b', "deadline": "0001-01-01T00:00:00"}',
    b"{" + HEAD + b', "created_ms": ' + b"9" * 400 + b"}",
    b"{" + HEAD + b', "tenant": "acme\\n"}',
]


def test_message_that_is_no_job_is_dropped_with_a_word_in_the_log(farm: Farm) -> None:
    from kombu import Connection

    with Connection(farm.settings.queue_url) as connection:
        channel = connection.channel()
        exchange = "" if farm.settings.embedded else "penstock.jobs"
        for body in BAD_MESSAGES:
            message = channel.prepare_message(body, content_type="application/json", content_encoding="utf-8")
            channel.basic_publish(message, exchange=exchange, routing_key="cpu.echo.1.normal")
    farm.until(lambda: farm.log("worker-cpu").count("message refused") >= len(BAD_MESSAGES), "all are told of")
    with farm.client() as client:
        assert client.run("echo", {"x": X}) == {"y": [X]}
