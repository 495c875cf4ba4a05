"""Messages that are no job: noted where an operator finds them, and only then acknowledged.

One that is the very message of a record, and cannot be read all the same (a gateway newer than this worker may have
written it), fails its job: nothing could ever run it, and it would wait for ever.
"""

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, NamedTuple

import msgspec

from errors import Forbidden, PenstockError, StoreUnavailable
from storage.jobs import JobStore
from storage.refused import Refused
from workers.commit import STORE_PAUSE_S, problem
from workers.lane import Lane

log = logging.getLogger(__name__)


class Claimed(msgspec.Struct):
    """All that is asked of a message which may be anything else."""

    id: str


class Bad(NamedTuple):
    lane: Lane
    tag: Any
    body: bytes
    error: PenstockError


_id = msgspec.json.Decoder(Claimed)


class Refusals:
    """Notes on a thread of its own what lanes refuse: the event loop waits for no store."""

    def __init__(self, jobs: JobStore, refused: Refused) -> None:
        self._jobs = jobs
        self._refused = refused
        self._waiting: SimpleQueue[tuple[Bad, Callable[[], None]]] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def add(self, bad: Bad, flush: Callable[[], None]) -> None:
        """Take a message in; `flush` is called once it is noted and may be acknowledged."""
        body = bad.body
        about = {"queue": bad.lane.queue, "reason": bad.error.detail, "bytes": len(body)}
        # Of a forged one the log says nothing that its maker chose; `penstock` shows the operator how it begins.
        log.error("message refused", extra=about if forged(bad) else about | {"begins": repr(body[:80])})
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="refusals", daemon=True)
            self._thread.start()
        self._waiting.put((bad, flush))

    def note(self, bad: Bad) -> None:
        """Raises StoreUnavailable."""
        self._refused.note(bad.body, queue=bad.lane.queue, reason=bad.error.detail)
        if id := named(bad.body):
            job = self._jobs.get(id)
            if job is not None and job.message == bad.body and job.queue == bad.lane.queue:
                self._jobs.fail(job, problem(bad.error))

    def _run(self) -> None:
        while True:
            bad, flush = self._waiting.get()
            self._insist(bad)
            bad.lane.settle(bad.tag)
            flush()

    def _insist(self, bad: Bad) -> None:
        pause = threading.Event()
        while True:
            try:
                return self.note(bad)
            except StoreUnavailable:
                pause.wait(STORE_PAUSE_S)
            # Told of in the log above; the next one must not wait for it.
            except PenstockError:
                log.exception("refused message could not be noted")
                return None


def forged(bad: Bad) -> bool:
    return isinstance(bad.error, Forbidden)


def named(body: bytes) -> str:
    """The id that a message names, whatever else it is; empty without one."""
    try:
        return _id.decode(body).id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
