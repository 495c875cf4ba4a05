"""Celery messages of strangers: what is no task of ours is refused before Celery looks into it.

Celery itself refuses pickles and unknown names, but a message that lacks what it takes for granted ends the whole
process, and comes again to the next. It would also carry out what a message asks beside its task: other tasks to send
after it, a time to wait for. Ours ask for none of this.
"""

import logging
import threading
from queue import Full, Queue
from typing import Any, ClassVar, NamedTuple

import msgspec
from celery import signals
from celery.worker.consumer import Consumer

from errors import PenstockError
from storage.refused import Refused

log = logging.getLogger(__name__)

#: As `worker_consumer` of a Celery app.
CONSUMER = f"{__name__}:Guarded"
#: Bytes of a task's body; ours have a few dozen.
MAX_BYTES = 4096
#: Refused tasks that may wait to be noted.
NOTES = 1000


class Beside(msgspec.Struct, forbid_unknown_fields=True):
    """What a task's body may ask for beside the task: nothing."""

    callbacks: None = None
    errbacks: None = None
    chain: None = None
    chord: None = None


#: https://docs.celeryq.dev/en/stable/internals/protocol.html, version 2
_body = msgspec.json.Decoder(tuple[list[str], dict[str, str], Beside])


class Note(NamedTuple):
    """A refused task, as the operator is to see it."""

    body: bytes
    queue: str
    reason: str


class Guarded(Consumer):  # type: ignore[misc]  # celery ships no types
    class Blueprint(Consumer.Blueprint):  # type: ignore[misc]
        # It declares 28 queues and 29 exchanges for tasks that wait; ours never do.
        default_steps: ClassVar[list[str]] = [
            step for step in Consumer.Blueprint.default_steps if not step.endswith(":DelayedDelivery")
        ]

    def create_task_handler(self, *args: Any, **options: Any) -> Any:
        handle = super().create_task_handler(*args, **options)
        names = {name for name in self.app.tasks if not name.startswith("celery.")}

        def guarded(message: Any) -> None:
            try:
                reason = complaint(message, names)
                if not reason:
                    handle(message)
                    return
            except self.connection_errors:
                raise
            # Whatever Celery could not do with it is the message's fault: the next one must find us alive.
            except Exception as error:  # noqa: BLE001
                reason = f"celery could not take it: {type(error).__name__}"
            refuse(self, message, reason)

        return guarded


def complaint(message: Any, names: set[str]) -> str:
    """Why a message is no task of ours; empty when it is one."""
    headers, body = message.headers, message.body
    if message.content_type != "application/json":
        return "its content is not JSON"
    if not isinstance(headers, dict) or not isinstance(headers.get("id"), str):
        return "it has no headers of a task"
    if not isinstance(headers.get("task"), str) or headers["task"] not in names:
        return "it names no task that is known here"
    if headers.get("eta") is not None:
        return "it asks to be kept until later"
    if len(body) > MAX_BYTES:
        return f"it has more than {MAX_BYTES} bytes"
    try:
        _body.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return "its arguments are not those of a task of ours"
    return ""


def refuse(consumer: Any, message: Any, reason: str) -> None:
    log.error("refused a task", extra={"reason": reason, "bytes": len(message.body)})
    if not message.acknowledged:
        message.reject_log_error(log, consumer.connection_errors)
    signals.task_rejected.send(sender=consumer, message=message, exc=reason)


class Notes:
    """Notes on a thread of its own what is refused: the event loop waits for no store."""

    def __init__(self, refused: Refused) -> None:
        self._refused = refused
        self._waiting: Queue[Note] = Queue(NOTES)
        self._thread: threading.Thread | None = None

    def add(self, note: Note) -> None:
        """The log has told of it: where too many wait already, that is all."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="refused tasks", daemon=True)
            self._thread.start()
        try:
            self._waiting.put_nowait(note)
        except Full:
            log.warning("refused task could not be noted", extra={"reason": f"{NOTES} wait to be noted"})

    def _run(self) -> None:
        while True:
            note = self._waiting.get()
            try:
                self._refused.note(note.body, queue=note.queue, reason=note.reason)
            except PenstockError as error:
                log.warning("refused task could not be noted", extra={"reason": error.detail})


def note_refused(refused: Refused) -> None:
    """Show the operator each task that is refused in this process."""
    notes = Notes(refused)

    def rejected(message: Any, exc: Any, **_: Any) -> None:
        body = message.body if isinstance(message.body, bytes) else str(message.body).encode(errors="backslashreplace")
        queue = str((message.delivery_info or {}).get("routing_key", ""))
        notes.add(Note(body, queue, f"no task of ours: {exc}"))

    signals.task_rejected.connect(rejected, weak=False)
