"""Promises about what is left at rest: nothing."""

from collections.abc import Iterator

from tests.chaos.history import History, Violation

#: What the due set may hold at rest: results that are to be erased when their time is over.
LATER = ("erase:", "object:")


def messages(history: History) -> Iterator[Violation]:
    for queue, count in history.rest.messages.items():
        if count:
            yield Violation("messages", queue, f"{count} left")


def waiting(history: History) -> Iterator[Violation]:
    for id in history.rest.waiting:
        yield Violation("waiting", id, "stands among those that wait")


def due(history: History) -> Iterator[Violation]:
    for member in history.rest.due:
        if not member.startswith(LATER):
            yield Violation("due", member, "is due, and nobody does it")


def untold(history: History) -> Iterator[Violation]:
    if history.rest.untold:
        yield Violation("untold", "webhooks", f"{history.rest.untold} neither sent nor given up")


def objects(history: History) -> Iterator[Violation]:
    """Every object lies below a job that the store stands by, and goes with it."""
    held = {record.id for record in history.records if record.state != "withdrawn"}
    named = set(history.rest.named)
    for key in history.rest.objects:
        _tenant, kind, id, *_ = [*key.split("/"), "", ""]
        if kind == "jobs" and id not in held:
            yield Violation("objects", key, "belongs to no job")
    for key in named - set(history.rest.objects):
        yield Violation("objects", key, "is named by a record, and is not there")
