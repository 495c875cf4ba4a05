"""Answers to who pushed a job: its outcome, in the queue that the message named, before the message is acknowledged.

On a thread and a publishing connection of their own: an alarm at the broker stops those that publish. At least once:
a worker that dies between an answer and the acknowledgement leaves both to the one that gets the message again.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import NamedTuple

import msgspec

from errors import StoreUnavailable
from storage.job import Job, Status
from storage.jobs import JobStore
from tasks.publisher import GROUP, Publisher
from tasks.ticket import Outgoing, QueueRefuses, Unroutable
from workers.lane import Delivery

log = logging.getLogger(__name__)

#: Between tries to reach a broker, or a store, that is away, seconds.
PAUSE_S = 0.5
#: How long the broker has to confirm, before it is asked again, seconds.
CONFIRM_S = 10.0
#: How long a queue that is full is tried, seconds: nobody takes anything out of it.
FULL_S = 60.0
#: Statuses that are told.
TOLD = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELED, Status.EXPIRED})

#: Called with deliveries that are told of.
Done = Callable[[Sequence[Delivery]], None]


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is told of a job (docs/messages.md)."""

    id: str
    status: str
    outputs: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    #: The object that holds the outputs, where they are large.
    outputs_key: str = ""
    #: A problem document.
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class Owed(NamedTuple):
    """A delivery whose sender is to be told."""

    delivery: Delivery
    done: Done
    #: Since when, monotonic seconds.
    since_s: float


class Replies:
    """Takes deliveries whose sender is to be told, and hands them on once that is done. Its thread starts with the
    first.
    """

    def __init__(self, url: str, jobs: JobStore) -> None:
        self._jobs = jobs
        self._publisher = Publisher(url, deadline_s=CONFIRM_S, queues=lambda: ())
        self._waiting: SimpleQueue[Owed] = SimpleQueue()
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None
        self._open = 0
        self._stopping = threading.Event()
        #: Asks for acknowledgement of what is settled.
        self.flush: Callable[[], None] = lambda: None

    def send(self, deliveries: Sequence[Delivery], done: Done) -> None:
        """Tell of these jobs, and call `done`, on a thread of its own, with each that is told of."""
        with self._guard:
            self._open += len(deliveries)
            if deliveries and self._thread is None:
                self._thread = threading.Thread(target=self._run, name="replies", daemon=True)
                self._thread.start()
        now_s = time.monotonic()
        for delivery in deliveries:
            self._waiting.put(Owed(delivery, done, now_s))

    @property
    def idle(self) -> bool:
        return self._open == 0

    def close(self) -> None:
        """What is not told by now is told by whoever gets the message again."""
        self._stopping.set()
        self._publisher.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            batch = self._next()
            try:
                again = self._tell(batch)
            # What cannot be told of must not keep the others from it, nor its message from being settled.
            except Exception:
                log.exception("answers could not be made", extra={"jobs": [one.delivery.id for one in batch]})
                again = []
            for one in again:
                self._waiting.put(one)
            self._settle([one for one in batch if one not in again])
            if len(again) == len(batch):
                self._stopping.wait(PAUSE_S)

    def _next(self) -> list[Owed]:
        batch = [self._waiting.get()]
        with suppress(Empty):
            while len(batch) < GROUP:
                batch.append(self._waiting.get_nowait())
        return batch

    def _tell(self, batch: list[Owed]) -> list[Owed]:
        """Publish the answers; those that are to be tried again."""
        try:
            jobs = self._jobs.get_all([one.delivery.id for one in batch])
        except StoreUnavailable as error:
            log.warning("answers wait for the job store", extra={"reason": error.detail})
            return batch
        answers = [(one, answer(one.delivery, job)) for one, job in zip(batch, jobs, strict=True)]
        sent = [(one, outgoing) for one, outgoing in answers if outgoing is not None]
        errors = self._publisher.publish([outgoing for _, outgoing in sent]) if sent else []
        return [one for (one, _), error in zip(sent, errors, strict=True) if error is not None and keeps(one, error)]

    def _settle(self, batch: Sequence[Owed]) -> None:
        for one in batch:
            one.done([one.delivery])
        if batch:
            self.flush()
        with self._guard:
            self._open -= len(batch)


def answer(delivery: Delivery, job: Job | None) -> Outgoing | None:
    """The message to send; None where there is nothing to tell, or nobody to be told."""
    to = delivery.reply
    if to is None or job is None or job.status not in TOLD:
        return None
    said = Answer(
        job.id,
        job.status.value,
        msgspec.UNSET if job.outputs is None else msgspec.Raw(job.outputs),
        job.outputs_key,
        msgspec.UNSET if job.error is None else msgspec.Raw(job.error),
    )
    return Outgoing(to.queue, job.id, msgspec.json.encode(said), correlation_id=to.correlation_id or job.id)


def keeps(one: Owed, error: Exception) -> bool:
    """Whether an answer that the broker did not take is tried again."""
    about = {"job": one.delivery.id, "reason": str(error)}
    if isinstance(error, Unroutable):
        log.warning("answer dropped: there is no such queue", extra=about)
        return False
    if isinstance(error, QueueRefuses) and time.monotonic() - one.since_s > FULL_S:
        log.warning("answer dropped: its queue is full", extra=about)
        return False
    return True
