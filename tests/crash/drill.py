"""One drill: a step armed, jobs sent, a process killed at that step, and every job looked at in the end."""

import json
import shutil
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from kombu import Connection

from tasks import topology
from tests.crash.points import POINTS
from tests.farm.conftest import servers
from tests.farm.harness import Farm
from tests.farm.repository import build
from tests.receiver import Receiver, receiving

INJECTOR = Path(__file__).parent / "injector"
#: Jobs of a drill beside the three special ones.
ECHOES = 5
#: For a job to end and its webhook to arrive, processes started anew and leases run out, seconds.
END_S = 90.0
#: Between tries of a request that was not answered, seconds.
AGAIN_S = 0.1
PROCESS = {"gateway": "gateway", "worker": "worker-cpu", "orchestrator": "orchestrator"}


class Sent(NamedTuple):
    key: str
    body: dict[str, Any]
    outputs: dict[str, Any]
    id: str


class Drills:
    """A farm whose processes die when they are told to."""

    def __init__(self, farm: Farm, folder: Path, receiver: Receiver) -> None:
        self.farm = farm
        self.folder = folder
        self.receiver = receiver
        #: Every job of every drill.
        self.sent: list[Sent] = []

    def run(self, step: str) -> None:
        """Kill once at `step` while jobs are on their way; AssertionError: one is lost, doubled or wrong."""
        armed, name = self.folder / step, PROCESS.get(POINTS[step].role)
        armed.touch()
        ending = threading.Event()
        restarting = threading.Thread(target=self._restart, args=(armed, name, ending))
        restarting.start()
        try:
            works = self._works()
            with ThreadPoolExecutor(len(works)) as pool:
                sent = list(pool.map(lambda one: self._send(*one), works))
                list(pool.map(self._check, sent))
            assert not armed.exists(), f"nothing ever came to {step}"
        finally:
            ending.set()
            restarting.join()
        assert len({one.id for one in sent}) == len(works)
        self.sent += sent

    def at_rest(self) -> None:
        """Nothing is left over: every job that there is was asked for, none waits, and no message lies anywhere."""
        farm = self.farm
        with farm.client() as client:
            assert {job.id for job in client.jobs.list()} == {one.id for one in self.sent}
        queues = farm.jobs.queues()
        farm.until(lambda: not any(farm.jobs.depths(queues)), "no job waits")
        # What a worker holds goes back to the queue when it ends.
        farm.stop("worker-cpu")
        with Connection(farm.settings.queue_url) as connection:
            left = {queue: topology.depth(connection, queue) for queue in queues}
        assert set(left.values()) == {0}, left

    def _restart(self, armed: Path, name: str | None, ending: threading.Event) -> None:
        """Start the process anew that dies; an executor's worker does that by itself."""
        while armed.exists():
            if ending.wait(0.01):
                return
        if name is not None:
            # All that is left of it, as where the machine goes down; the gateway is several processes.
            self.farm.kill(name)
            self.farm.start(name)

    def _works(self) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """Submissions and what must come out: echoes of a number of their own, a large result, and a retry."""
        found: list[tuple[dict[str, Any], dict[str, Any]]] = []
        for number in range(ECHOES):
            row = [float(number), *[float(digit) for digit in str(uuid.uuid4().int)[:15]]]
            found.append(({"model": "echo", "inputs": {"x": row}}, {"y": [row]}))
        found[0][0]["webhook"] = {"url": self.receiver.url()}
        word = f"once {self.folder / uuid.uuid4().hex}"
        found.append(({"model": "trouble", "inputs": {"do": "big"}}, {"did": ["x" * 100_000]}))
        found.append(({"model": "flaky", "inputs": {"do": word}}, {"did": [word]}))
        return found

    def _send(self, body: dict[str, Any], outputs: dict[str, Any]) -> Sent:
        """Submit as a careful client does: the same key again until there is an answer."""
        key, deadline = uuid.uuid4().hex, time.monotonic() + END_S
        with self.farm.http() as http:
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

    def _check(self, sent: Sent) -> None:
        """The job ends well, with its own result, and its key still leads to it."""
        job = self._ended(sent)
        assert job["status"] == "succeeded", job
        with self.farm.client() as client:
            assert client.jobs.result(sent.id) == sent.outputs
        with self.farm.http() as http:
            again = http.post("/v1/jobs", json=sent.body, headers={"Idempotency-Key": sent.key})
        assert again.json()["id"] == sent.id
        if "webhook" in sent.body:
            self.farm.until(lambda: self._told(sent.id), f"the webhook of {sent.id} has come", END_S)
            assert len({got.id for got in self._told(sent.id)}) == 1

    def _ended(self, sent: Sent) -> dict[str, Any]:
        deadline = time.monotonic() + END_S
        with self.farm.http() as http:
            while True:
                try:
                    answer = http.get(f"/v1/jobs/{sent.id}?wait=5")
                    job: dict[str, Any] = answer.json()
                    if answer.status_code != 503 and job.get("status") not in ("queued", "running"):
                        return job
                except httpx.TransportError:
                    time.sleep(AGAIN_S)
                assert time.monotonic() < deadline, f"not done: {self.farm.jobs.get(sent.id)}"

    def _told(self, id: str) -> list[Any]:
        return [got for got in list(self.receiver.received) if got.json["data"]["id"] == id]


@contextmanager
def drilling(root: Path) -> Iterator[Drills]:
    """A farm on real servers, every process of which can be killed at a step."""
    folder = root / "crash"
    folder.mkdir()
    (folder / "points.json").write_text(json.dumps(POINTS))
    with receiving() as receiver:
        farm = servers(root, repository(root / "models"))
        farm.env |= {
            "PYTHONPATH": str(INJECTOR), "CRASH_FOLDER": str(folder),
            "PENSTOCK_WEBHOOK_ALLOW": "127.0.0.0/8", "PENSTOCK_WEBHOOK_PORTS": "1-65535",
        }  # fmt: skip
        try:
            farm.start()
            farm.wait_ready()
            yield Drills(farm, folder, receiver)
        finally:
            farm.close()


def repository(folder: Path) -> Path:
    """Write the drill's models: `flaky` is `trouble` once more, whose failures no neighbour shares."""
    build(folder, "echo", "trouble")
    shutil.copytree(folder / "trouble", folder / "flaky")
    manifest = folder / "flaky" / "model.yaml"
    manifest.write_text(manifest.read_text().replace("name: trouble", "name: flaky"))
    return folder
