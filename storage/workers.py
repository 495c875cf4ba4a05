"""Which workers live, and how far each of their models is: written at every heartbeat, gone when it stops."""

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
import redis

from storage import keys
from storage.connection import store_errors
from storage.statistics import Figures

#: A worker that has not been heard of for so long counts as gone, seconds.
TTL_S = 15
#: How long a dead one is remembered as such, and one that has ended as not dead, seconds.
GONE_S = 3600
LEFT_S = 60
#: Figures of a version that nothing has run for so long are forgotten, seconds.
STATISTICS_TTL_S = 90 * 86_400

#: draining: it still runs the jobs that were accepted for it, and ends then.
ModelState = Literal["loading", "ready", "failed", "draining"]


class ModelStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One model version on one worker."""

    model: str
    version: str
    state: ModelState
    #: Why it failed, for `GET /v1/models`.
    reason: str = ""
    device: str = ""
    #: Executors that are ready.
    executors: int = 0
    #: Since the worker began: rows that were run, and milliseconds that executors were busy with them.
    rows: int = 0
    busy_ms: float = 0.0
    #: Executors that were replaced since the worker began (dead, hung, or too large), and why the last one was.
    restarts: int = 0
    restart_reason: str = ""


class WorkerStatus(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    pool: str
    started_ms: int
    models: tuple[ModelStatus, ...]
    #: Where its process is (`storage.process`): those of one host see each other die. Empty: not told.
    process: str = ""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(WorkerStatus).decode


class Workers:
    """The register of living workers. Methods raise StoreUnavailable when Redis does not answer."""

    def __init__(self, client: "redis.Redis") -> None:
        self._client = client

    def beat(
        self, status: WorkerStatus, *, now_ms: int, figures: Mapping[tuple[str, str], Figures] | None = None
    ) -> None:
        """Say that this worker lives, what it serves, and by model and version what it did since the last time."""
        with store_errors():
            # As a whole or not at all, so that figures that were refused may be sent again.
            pipe = self._client.pipeline(transaction=True)
            for (model, version), counts in (figures or {}).items():
                key = keys.statistics(status.pool, model, version)
                for name, more in counts.items():
                    if isinstance(more, int):
                        pipe.hincrby(key, name, more)
                    else:
                        pipe.hincrbyfloat(key, name, round(more, 3))
                pipe.expire(key, STATISTICS_TTL_S)
            pipe.set(keys.worker(status.name), _encode(status), ex=TTL_S)
            pipe.zadd(keys.WORKERS, {status.name: now_ms + TTL_S * 1000})
            pipe.zremrangebyscore(keys.WORKERS, 0, now_ms)
            pipe.execute()

    def leave(self, name: str) -> None:
        """Say that this worker has ended, as it should: none of its jobs is charged with that."""
        with store_errors():
            pipe = self._client.pipeline(transaction=False)
            pipe.expire(keys.worker(name), LEFT_S)
            pipe.zrem(keys.WORKERS, name)
            pipe.execute()

    def bury(self, name: str) -> None:
        """Say that a worker's process has died: who takes its jobs over need not wait to know."""
        with store_errors():
            pipe = self._client.pipeline(transaction=True)
            pipe.set(keys.gone(name), b"1", ex=GONE_S)
            pipe.delete(keys.worker(name))
            pipe.zrem(keys.WORKERS, name)
            pipe.execute()

    def known(self, names: Sequence[str]) -> set[str]:
        """Those of the names whose worker lives, or ended lately as it should."""
        with store_errors():
            found = self._client.mget([keys.worker(name) for name in names]) if names else []
        return {name for name, text in zip(names, found, strict=True) if text}

    def all(self) -> list[WorkerStatus]:
        """Every worker that lives."""
        with store_errors():
            names = [name.decode() for name in self._client.zrange(keys.WORKERS, 0, -1)]
            found = self._client.mget([keys.worker(name) for name in names]) if names else []
        return [_decode(text) for text in found if text]

    def figures(self, versions: Sequence[tuple[str, str, str]]) -> list[Figures]:
        """What was ever done, for each pool, model and version."""
        with store_errors():
            pipe = self._client.pipeline(transaction=False)
            for one in versions:
                pipe.hgetall(keys.statistics(*one))
            found = pipe.execute() if versions else []
        return [{name.decode(): float(value) for name, value in fields.items()} for fields in found]
