"""A campaign of wrong requests against a running farm: what it was asked, what it answered, and whether it lived."""

import itertools
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import psutil
import requests
from kombu import Connection
from penstock import Penstock

from storage.access import Access
from tests.farm.harness import Farm
from tests.fuzz.mutating import mutated
from tests.fuzz.requests import ECHO, asked, templates, written
from tests.fuzz.schema import cases

#: Sockets at once.
CLIENTS = 24
ROLES = ("gateway", "worker-cpu", "orchestrator")
#: Failures that are kept with their request.
KEPT = 20
LANE = "cpu.echo.1.normal"
MESSAGE = (
    b'{"v":1,"id":"job_%d","model":"echo","version":"1","inputs":{"x":[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15]},'
    b'"pool":"cpu","priority":"normal","tenant":"acme","created_ms":1,"max_attempts":3,"metadata":{"a":"b"},"rows":1}'
)


class Campaign:
    def __init__(self, farm: Farm, number: int) -> None:
        self.farm = farm
        self.number = number
        #: A tenant of its own, whose jobs and webhooks are in nobody's way.
        self.key = Access(farm.redis).create("fuzz", admin=True)
        #: Answers by status; 0: closed without one, as HTTP allows for what is no HTTP.
        self.statuses: Counter[int] = Counter()
        #: What must not have been: (what was sent, what came).
        self.failures: list[tuple[str, str]] = []
        self.messages = 0
        self._guard = threading.Lock()
        self._lives = lives(farm)
        self._heard = {role: len(farm.log(role)) for role in ROLES}
        self._job = self._submit()

    @property
    def requests(self) -> int:
        return sum(self.statuses.values())

    def _submit(self) -> str:
        """A job that there is."""
        with Penstock(self.farm.url, api_key=self.key) as client:
            return client.jobs.submit("echo", {"x": [0.0] * 16}).id

    def note(self, sent: str, statuses: list[int], answer: bytes) -> None:
        with self._guard:
            self.statuses.update(statuses or [0])
            if any(status >= 500 for status in statuses) or b"Traceback" in answer:
                self.failures.append((sent[:2000], answer[:1000].decode(errors="replace")))

    def by_bytes(self, count: int) -> None:
        """Requests over bare sockets, wrong in a few bytes."""
        wanted = templates(self._job)

        def one(number: int) -> None:
            random = Random(f"{self.number}/{number}")
            request = written(wanted[number % len(wanted)], self.key, random)
            statuses, answer = asked(self.farm.port, request)
            self.note(repr(request), statuses, answer)

        with ThreadPoolExecutor(CLIENTS) as pool:
            for _ in pool.map(one, range(count)):
                pass

    def by_schema(self, each: int) -> None:
        """Requests that the OpenAPI document allows, or nearly; paths lead to a job that there is half of the time."""
        turn = itertools.count()
        own = {"Authorization": f"Bearer {self.key}"}
        with requests.Session() as session:
            document = session.get(self.farm.url + "/openapi.json", headers=own, timeout=10).json()

            def run(case: Any) -> None:
                number = next(turn)
                # Cases erase it as well.
                if number % 50 == 0:
                    self._job = self._submit()
                if "id" in (case.path_parameters or {}) and number % 2:
                    case.path_parameters["id"] = self._job
                # Schemathesis makes up keys of its own.
                headers = own if number % 8 else None
                answer = case.call(
                    base_url=self.farm.url, session=session, headers=headers, timeout=70, allow_redirects=False
                )
                self.note(f"{case.method} {case.path} {case!r}", [answer.status_code], answer.content)

            cases(document, each=each, number=self.number, run=run)

    def by_messages(self, count: int) -> None:
        """Messages that were never JSON, or no job's, straight into a lane."""
        random, exchange = Random(self.number), "" if self.farm.settings.embedded else "penstock.jobs"
        with Connection(self.farm.settings.queue_url) as connection:
            channel = connection.channel()
            for number in range(count):
                body = mutated(MESSAGE % number, random)
                message = channel.prepare_message(body, content_type="application/json", content_encoding="binary")
                channel.basic_publish(message, exchange=exchange, routing_key=LANE)
        self.messages += count

    def finish(self) -> list[tuple[str, str]]:
        """Everything still lives and works; what failed, with the request that did it."""
        answer = requests.post(
            self.farm.url + "/v1/jobs", data=ECHO, timeout=70,
            headers={"Content-Type": "application/json", "Prefer": "wait=60", "Authorization": f"Bearer {self.key}"},
        )  # fmt: skip
        if answer.json().get("status") != "succeeded":
            self.failures.append(("a good job afterwards", answer.text[:1000]))
        for role, before in self._lives.items():
            if gone := before - lives(self.farm)[role]:
                self.failures.append((f"processes of {role} that died", str(sorted(gone))))
        for role, heard in self._heard.items():
            if "Traceback" in (log := self.farm.log(role)[heard:]):
                self.failures.append((f"log of {role}", log[max(0, log.index("Traceback") - 500) :][:3000]))
        return self.failures


def lives(farm: Farm) -> dict[str, set[int]]:
    """Pids of each process and of those it started."""
    found = {role: psutil.Process(farm.processes[role].pid) for role in ROLES}
    return {role: {one.pid, *(child.pid for child in one.children(recursive=True))} for role, one in found.items()}
