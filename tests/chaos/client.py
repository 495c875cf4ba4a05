"""HTTP as a careful client of Penstock speaks it: every request and answer is noted, and nothing is taken on trust."""

import json
import time
from typing import Any

import urllib3

from tests.chaos.history import Call, Intent
from tests.chaos.recorder import Recorder
from tests.chaos.reference import canonical

#: Seconds to connect, and to wait for an answer beyond what was asked for.
CONNECT_S, ANSWER_S = 2.0, 15.0
#: Problems that say nothing of the job itself: asked again later, under the same key.
AGAIN = (0, 429, 500, 502, 503, 504)


class Client:
    """One client's connection; used by one thread."""

    def __init__(self, url: str, key: str, recorder: Recorder) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._pool = urllib3.PoolManager(maxsize=1, retries=False)
        self._recorder = recorder

    def submit(self, intent: Intent, body: dict[str, Any], *, wait_s: int = 0) -> Call:
        headers = {"Idempotency-Key": intent.key} | ({"Prefer": f"wait={wait_s}"} if wait_s else {})
        began = time.monotonic()
        status, answer = self._ask("POST", "/v1/jobs", body, headers, wait_s)
        return self._note("submit", began, status, answer, key=intent.key)

    def submit_many(self, key: str, intents: list[Intent], bodies: list[dict[str, Any]]) -> list[Call]:
        """An answer for each, in order; the intents' own keys are what the gateway makes of `key`."""
        began = time.monotonic()
        status, answer = self._ask("POST", "/v1/jobs:batch", bodies, {"Idempotency-Key": key})
        outcomes = answer.get("data", []) if status == 200 else [{"error": answer}] * len(intents)
        calls = []
        for intent, outcome in zip(intents, outcomes, strict=True):
            error = outcome.get("error")
            each = status if error is None else error.get("status", status)
            calls.append(self._note("submit", began, each, outcome.get("job") or error or {}, key=intent.key))
        return calls

    def look(self, job: str, *, wait_s: float = 0) -> Call:
        began = time.monotonic()
        path = f"/v1/jobs/{job}" + (f"?wait={wait_s:g}" if wait_s else "")
        status, answer = self._ask("GET", path, wait_s=wait_s)
        return self._note("wait" if wait_s else "poll", began, status, answer, job=job)

    def cancel(self, job: str) -> Call:
        return self._act(job, "cancel")

    def retry(self, job: str) -> Call:
        return self._act(job, "retry")

    def page(self, cursor: str) -> tuple[list[Call], str]:
        """A page of the tenant's jobs as it is listed, and where the next begins; raises OSError without an answer."""
        began = time.monotonic()
        status, answer = self._ask("GET", "/v1/jobs?limit=500" + (f"&cursor={cursor}" if cursor else ""))
        if status != 200:
            raise OSError(f"the list of jobs is answered with {status}: {answer}")
        return [self._note("poll", began, 200, one) for one in answer["data"]], answer["next_cursor"] or ""

    def _act(self, job: str, verb: str) -> Call:
        began = time.monotonic()
        status, answer = self._ask("POST", f"/v1/jobs/{job}/{verb}")
        return self._note(verb, began, status, answer, job=job)

    def _ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, wait_s: float = 0
    ) -> tuple[int, dict[str, Any]]:
        """Status and JSON; 0 where there was no answer, or not all of it."""
        try:
            answer = self._pool.request(
                method,
                self._url + path,
                body=None if body is None else json.dumps(body).encode(),
                headers=self._headers | {"Content-Type": "application/json"} | (headers or {}),
                timeout=urllib3.Timeout(connect=CONNECT_S, read=ANSWER_S + wait_s),
            )
            found = json.loads(answer.data) if answer.data else {}
        except (urllib3.exceptions.HTTPError, ValueError):
            return 0, {}
        return answer.status, found if isinstance(found, dict) else {}

    def _note(
        self, op: str, began: float, status: int, answer: dict[str, Any], *, key: str = "", job: str = ""
    ) -> Call:
        good = 200 <= status < 300
        call = Call(
            began=began,
            ended=time.monotonic(),
            op=op,
            key=key,
            job=job or (answer.get("id", "") if good else ""),
            status=status,
            state=answer.get("status", "") if good else "",
            attempt=answer.get("attempt", 0) if good else 0,
            completed_at=(answer.get("completed_at") or "") if good else "",
            outputs=canonical(answer["outputs"]) if good and answer.get("outputs") is not None else "",
            code=((answer.get("error") or {}).get("code", "") if good else answer.get("code", "")),
        )
        self._recorder.note(call)
        return call
