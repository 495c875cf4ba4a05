"""One drill: a step armed, jobs sent, a process killed at that step, and every job looked at in the end."""

import json
import shutil
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import httpx
from kombu import Connection

from tasks import topology
from tests.crash.points import POINTS
from tests.farm.harness import Farm
from tests.farm.repository import build

INJECTOR = Path(__file__).parent / "injector"
#: Jobs of a drill beside the three special ones.
ECHOES = 5
#: For a job to end, processes started anew included, seconds.
END_S = 60.0
#: Between tries of a request that was not answered, seconds.
AGAIN_S = 0.1
PROCESS = {"gateway": "gateway", "worker": "worker-cpu", "orchestrator": "orchestrator"}


class Sent(NamedTuple):
    key: str
    body: dict[str, object]
    outputs: dict[str, object]
    id: str


def repository(folder: Path) -> Path:
    """Write the drill's models: `flaky` is `trouble` once more, whose failures no neighbour shares."""
    build(folder, "echo", "trouble")
    shutil.copytree(folder / "trouble", folder / "flaky")
    manifest = folder / "flaky" / "model.yaml"
    manifest.write_text(manifest.read_text().replace("name: trouble", "name: flaky"))
    return folder


def prepare(farm: Farm, folder: Path) -> None:
    """Let the farm's processes, which are not started yet, be killed by this module."""
    folder.mkdir()
    (folder / "points.json").write_text(json.dumps(POINTS))
    farm.env |= {"PYTHONPATH": str(INJECTOR), "CRASH_FOLDER": str(folder)}


def drill(farm: Farm, folder: Path, step: str) -> list[Sent]:
    """Kill once at `step` while jobs are on their way; raises AssertionError where one is lost, doubled or wrong."""
    armed, name = folder / step, PROCESS.get(POINTS[step].role)
    armed.touch()
    ending = threading.Event()
    restarting = threading.Thread(target=restart, args=(farm, armed, name, ending))
    restarting.start()
    try:
        works = work(folder)
        with ThreadPoolExecutor(len(works)) as pool:
            sent = list(pool.map(lambda one: send(farm, *one), works))
            list(pool.map(lambda one: check(farm, one), sent))
        assert not armed.exists(), f"nothing ever came to {step}"
    finally:
        ending.set()
        restarting.join()
    assert len({one.id for one in sent}) == len(works)
    return sent


def restart(farm: Farm, armed: Path, name: str | None, ending: threading.Event) -> None:
    """Start the process anew that dies; an executor's worker does that by itself."""
    while armed.exists():
        if ending.wait(0.01):
            return
    if name is not None:
        # All that is left of it, as where the machine goes down; the gateway is several processes.
        farm.kill(name)
        farm.start(name)


def work(folder: Path) -> list[tuple[dict[str, object], dict[str, object]]]:
    """Submissions and what must come out: echoes of a number of their own, a large result, and a retry."""
    found: list[tuple[dict[str, object], dict[str, object]]] = []
    for number in range(ECHOES):
        row = [float(number), *[float(digit) for digit in str(uuid.uuid4().int)[:15]]]
        found.append(({"model": "echo", "inputs": {"x": row}}, {"y": [row]}))
    word = f"once {folder / uuid.uuid4().hex}"
    found.append(({"model": "trouble", "inputs": {"do": "big"}}, {"did": ["x" * 100_000]}))
    found.append(({"model": "flaky", "inputs": {"do": word}}, {"did": [word]}))
    return found


def send(farm: Farm, body: dict[str, object], outputs: dict[str, object]) -> Sent:
    """Submit as a careful client does: the same key again until there is an answer."""
    key, deadline = uuid.uuid4().hex, time.monotonic() + END_S
    with farm.http() as http:
        while True:
            try:
                answer = http.post("/v1/jobs", json=body, headers={"Idempotency-Key": key})
                if answer.status_code in (200, 202):
                    return Sent(key, body, outputs, answer.json()["id"])
                assert answer.status_code == 503, answer.text
            except httpx.TransportError:
                pass
            assert time.monotonic() < deadline, "never accepted"
            time.sleep(AGAIN_S)


def check(farm: Farm, sent: Sent) -> None:
    """The job ends well, with its own result, and its key still leads to it."""
    deadline = time.monotonic() + END_S
    with farm.http() as http:
        while True:
            try:
                job = http.get(f"/v1/jobs/{sent.id}?wait=5").json()
                if job.get("status") not in ("queued", "running", 503):
                    break
            except httpx.TransportError:
                time.sleep(AGAIN_S)
            assert time.monotonic() < deadline, f"not done: {farm.jobs.get(sent.id)}"
        assert job["status"] == "succeeded", job
        with farm.client() as client:
            assert client.jobs.result(sent.id) == sent.outputs
        again = http.post("/v1/jobs", json=sent.body, headers={"Idempotency-Key": sent.key})
        assert again.json()["id"] == sent.id


def at_rest(farm: Farm, sent: list[Sent]) -> None:
    """Nothing is left over: every job that there is was asked for, none waits, and no message lies anywhere."""
    with farm.client() as client:
        assert {job.id for job in client.jobs.list()} == {one.id for one in sent}
    queues = farm.jobs.queues()
    farm.until(lambda: not any(farm.jobs.depths(queues)), "no job waits")
    # What a worker holds goes back to the queue when it ends.
    farm.stop("worker-cpu")
    with Connection(farm.settings.queue_url) as connection:
        left = {queue: topology.depth(connection, queue) for queue in queues}
    assert set(left.values()) == {0}, left
