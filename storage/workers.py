"""Which workers live, and how far each of their models is: written at every heartbeat, gone when it stops."""

from typing import Literal

import msgspec
import redis

from storage import keys
from storage.connection import store_errors

#: A worker that has not been heard of for so long counts as gone, seconds.
TTL_S = 15

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
    #: Since the worker began: rows and batches run, and milliseconds spent in the model.
    rows: int = 0
    batches: int = 0
    compute_ms: float = 0.0
    #: Executors that were replaced since the worker began (dead, hung, or too large), and why the last one was.
    restarts: int = 0
    restart_reason: str = ""


class WorkerStatus(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    pool: str
    started_ms: int
    models: tuple[ModelStatus, ...]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(WorkerStatus).decode


class Workers:
    """The register of living workers. Methods raise StoreUnavailable when Redis does not answer."""

    def __init__(self, client: "redis.Redis") -> None:
        self._client = client

    def beat(self, status: WorkerStatus, *, now_ms: int) -> None:
        """Say that this worker lives, and what it serves."""
        with store_errors():
            pipe = self._client.pipeline(transaction=False)
            pipe.set(keys.worker(status.name), _encode(status), ex=TTL_S)
            pipe.zadd(keys.WORKERS, {status.name: now_ms + TTL_S * 1000})
            pipe.zremrangebyscore(keys.WORKERS, 0, now_ms)
            pipe.execute()

    def leave(self, name: str) -> None:
        """Say that this worker has ended."""
        with store_errors():
            pipe = self._client.pipeline(transaction=False)
            pipe.delete(keys.worker(name))
            pipe.zrem(keys.WORKERS, name)
            pipe.execute()

    def all(self) -> list[WorkerStatus]:
        """Every worker that lives."""
        with store_errors():
            names = [name.decode() for name in self._client.zrange(keys.WORKERS, 0, -1)]
            found = self._client.mget([keys.worker(name) for name in names]) if names else []
        return [_decode(text) for text in found if text]
