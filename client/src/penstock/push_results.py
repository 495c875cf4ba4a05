"""What became of jobs, from their records in Redis: heard of on a channel, then read; nothing is written there."""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

from penstock.errors import JobFailure, StoreUnavailable, UnexpectedAnswer, job_failure
from penstock.job import ENDED, FAILED
from penstock.push_link import library

PREFIX = "penstock:job:"
DONE = "penstock:done"
#: Without word of any for so long, what is awaited is looked at, some at a time: a word can be lost.
SWEEP_S, SWEEP = 1.0, 500
#: Between tries to reach a store that is away, seconds.
PAUSE_S = 0.2


@dataclass(frozen=True, slots=True)
class End:
    """How one job ended: with outputs, with the name of the object that holds them, or with an error."""

    id: str
    outputs: Mapping[str, Any] | None = None
    #: True: the outputs lie in the object store, and the gateway has them.
    large: bool = False
    error: JobFailure | None = None


class Ends(Protocol):
    """Where the ends of jobs are heard of: their records, or answers in a queue. For one thread."""

    def expect(self, ids: Iterable[str]) -> None:
        """`take` is to tell of these."""

    def take(self, wait_s: float) -> list[End]:
        """Those expected that have ended since; waits for the first of them, `wait_s` at most."""

    def close(self) -> None: ...


class Records:
    """The ends of the jobs expected. For one thread."""

    def __init__(self, url: str, *, patience_s: float) -> None:
        redis = library("redis")
        self._errors = (redis.exceptions.RedisError, OSError)
        self._patience_s = patience_s
        self._expected: dict[str, None] = {}
        self._away_since: float | None = None
        self._swept_s = 0.0
        self._store = redis.Redis.from_url(url, decode_responses=True, socket_timeout=5.0)
        self._heard = self._store.pubsub(ignore_subscribe_messages=True)
        # Not even one round trip later: a job that ended before would be heard of by looking only.
        self._insist(lambda: self._heard.subscribe(DONE))

    def expect(self, ids: Iterable[str]) -> None:
        self._expected.update(dict.fromkeys(ids))

    def take(self, wait_s: float) -> list[End]:
        """Those that have ended since; waits for the first of them, `wait_s` at most.

        Raises StoreUnavailable where Redis was away for the whole of `patience_s`.
        """
        try:
            ids = self._named(wait_s)
            if not ids and time.monotonic() - self._swept_s > SWEEP_S:
                self._swept_s = time.monotonic()
                ids = list(islice(self._expected, SWEEP))
                # The next look begins with the others.
                for id in ids:
                    self._expected[id] = self._expected.pop(id)
            ends = self._read(ids) if ids else []
        except self._errors as error:
            self._away(error)
            return []
        self._away_since = None
        return ends

    def close(self) -> None:
        self._heard.close()
        self._store.close()

    def _named(self, wait_s: float) -> list[str]:
        """Ids of those expected that ended, as far as they were told of."""
        ids: list[str] = []
        word = self._heard.get_message(timeout=wait_s)
        while word is not None:
            ids += [id for id in word["data"].split() if id in self._expected]
            word = self._heard.get_message(timeout=0)
        return ids

    def _read(self, ids: Sequence[str]) -> list[End]:
        with self._store.pipeline(transaction=False) as pipe:
            for id in ids:
                pipe.hmget(PREFIX + id, "status", "outputs", "outputs_key", "error")
            ends = [
                end(id, status, read(outputs), outputs_key, read(error))
                for id, (status, outputs, outputs_key, error) in zip(ids, pipe.execute(), strict=True)
                if status in ENDED
            ]
        for one in ends:
            self._expected.pop(one.id, None)
        return ends

    def _insist(self, step: Any) -> None:
        while True:
            try:
                step()
                return
            except self._errors as error:
                self._away(error)

    def _away(self, error: BaseException) -> None:
        now = time.monotonic()
        self._away_since = self._away_since or now
        if now - self._away_since > self._patience_s:
            raise StoreUnavailable(
                f"Redis cannot be reached ({error}); the jobs go on, and their results can be collected later"
            ) from error
        time.sleep(PAUSE_S)


def read(text: str | None) -> Any:
    return json.loads(text) if text else None


def end(id: str, status: str, outputs: Any, outputs_key: str | None, error: Mapping[str, Any] | None) -> End:
    """A job's end, by what its record or its answer says."""
    if status != "succeeded":
        failure = job_failure(error, job_id=id) if error else FAILED.get(status, JobFailure)()
        failure.job_id = id
        return End(id, error=failure)
    if outputs_key:
        return End(id, large=True)
    if not isinstance(outputs, dict):
        raise UnexpectedAnswer(f"the outputs of {id} are no JSON object")
    return End(id, outputs=outputs)
