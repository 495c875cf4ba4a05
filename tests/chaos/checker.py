"""The history checker: every promise as a function from a history to the places where it was broken.

Pure: no farm, no clock, no network. `docs/chaos.md` says each promise in words.
"""

from collections.abc import Callable, Iterator

from tests.chaos import leftovers, outcomes, telling
from tests.chaos.history import History, Violation

Check = Callable[[History], Iterator[Violation]]

CHECKS: dict[str, Check] = {
    "lost": outcomes.lost,
    "one-job-per-key": outcomes.one_job_per_key,
    "own-outputs": outcomes.own_outputs,
    "innocent": outcomes.innocents,
    "charged": outcomes.charges,
    "ran": outcomes.ran,
    "one-outcome": telling.one_outcome,
    "one-end": telling.one_end,
    "monotone": telling.monotone,
    "canceled": telling.cancels,
    "webhooks": telling.webhooks,
    "messages": leftovers.messages,
    "waiting": leftovers.waiting,
    "due": leftovers.due,
    "untold": leftovers.untold,
    "objects": leftovers.objects,
}


def check(history: History) -> list[Violation]:
    return [violation for found in CHECKS.values() for violation in found(history)]


def unchecked(history: History) -> list[str]:
    """Promises that this history says nothing about."""
    return [] if history.webhooks else ["webhooks"]
