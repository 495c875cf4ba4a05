"""Promises about what clients are told: one outcome everywhere, states that never go back, cancels that hold."""

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from tests.chaos.history import TERMINAL, Call, History, Violation


class End(NamedTuple):
    """One end of a job, as somebody was told of it."""

    where: str
    state: str
    outputs: str
    code: str


def ends(history: History) -> dict[tuple[str, str], list[End]]:
    """Every telling of every end, by job and the time it names: a job that was retried may end again."""
    found: dict[tuple[str, str], list[End]] = defaultdict(list)
    for call in history.calls:
        if call.tells and call.state in TERMINAL:
            found[call.job, call.completed_at].append(End(call.op, call.state, call.outputs, call.code))
    for one in history.deliveries:
        if one.state in TERMINAL:
            found[one.job, one.completed_at].append(End("webhook", one.state, one.outputs, one.code))
    for record in history.records:
        if record.state in TERMINAL:
            end = End("store", record.state, record.outputs, record.code)
            found[record.id, record.completed_at].append(end)
    return found


def one_outcome(history: History) -> Iterator[Violation]:
    """Polls, waits, webhooks and store tell the same of the same end. Large outputs are not told in polls."""
    for (job, at), told in ends(history).items():
        states = {end.state for end in told}
        outputs = {end.outputs for end in told if end.outputs}
        codes = {end.code for end in told}
        if len(states) > 1 or len(outputs) > 1 or len(codes) > 1:
            what = sorted({f"{end.where}: {end.state} {end.code} {end.outputs[:40]}".strip() for end in told})
            yield Violation("one-outcome", job, f"its end at {at or '?'} is told as {'; '.join(what)}")


def one_end(history: History) -> Iterator[Violation]:
    """A job ends once, and once more for each explicit retry, by all that is told and by the store.

    Which of several ends is the newest, their times do not say: clocks are shifted. `monotone` sees to that.
    """
    retries = retried(history)
    times: dict[str, set[str]] = defaultdict(set)
    for job, at in ends(history):
        times[job].add(at)
    for job, found in times.items():
        if len(found) > 1 + len(retries[job]):
            yield Violation("one-end", job, f"ended at {sorted(found)}, with {len(retries[job])} retries")


def monotone(history: History) -> Iterator[Violation]:
    """What is told later, by an answer asked for after another had come, is never older; tokens only rise."""
    retries, records = retried(history), {record.id: record for record in history.records}
    for job, told in tellings(history).items():
        for number, later in enumerate(told):
            for earlier in told[:number]:
                if earlier.ended <= later.began and (fault := backwards(earlier, later, retries[job])):
                    yield Violation("monotone", job, fault)
        highest = max(call.attempt for call in told)
        if job in records and records[job].attempt < highest:
            yield Violation("monotone", job, f"told of attempt {highest}, ends with {records[job].attempt}")


def backwards(earlier: Call, later: Call, retries: list[Call]) -> str | None:
    """What is wrong with two tellings in a row, in words."""
    if later.attempt < earlier.attempt:
        return f"attempt {earlier.attempt} was told, then {later.attempt}"
    if earlier.state not in TERMINAL or between(retries, earlier, later):
        return None
    if (later.state, later.completed_at) != (earlier.state, earlier.completed_at):
        return f"{earlier.state} ({earlier.completed_at}) was told, then {later.state} ({later.completed_at})"
    return None


def cancels(history: History) -> Iterator[Violation]:
    """A cancel that was acknowledged before the job's end is never followed by success, nor by failure."""
    retries, records, told = retried(history), {record.id: record for record in history.records}, tellings(history)
    for cancel in history.calls:
        if cancel.op != "cancel" or cancel.status != 200 or cancel.state in ("succeeded", "failed", "expired"):
            continue
        again = retries[cancel.job]
        ended = [call for call in told[cancel.job] if call.state in TERMINAL and not between(again, cancel, call)]
        states = {call.state for call in ended}
        if not again and cancel.job in records:
            states.add(records[cancel.job].state)
        wrong = sorted(states - {"canceled"})
        if wrong:
            yield Violation("canceled", cancel.job, f"acknowledged while {cancel.state}, and then it is {wrong}")


def webhooks(history: History) -> Iterator[Violation]:
    """Each end of a job that has a webhook is delivered under one id, signed, or its exhaustion is recorded."""
    if not history.webhooks:
        return
    subscribed = {intent.key for intent in history.intents if intent.webhook}
    arrived: dict[tuple[str, str], set[str]] = defaultdict(set)
    for one in history.deliveries:
        if one.state in TERMINAL:
            arrived[one.job, one.completed_at].add(one.id)
        if not one.signed:
            yield Violation("webhooks", one.job, f"delivery {one.id} has a wrong signature")
    for (job, at), ids in arrived.items():
        if len(ids) > 1:
            yield Violation("webhooks", job, f"its end at {at} was delivered under {sorted(ids)}")
    for record in history.records:
        if record.key not in subscribed or record.state not in TERMINAL:
            continue
        if (record.id, record.completed_at) not in arrived and record.completed_at not in record.exhausted:
            yield Violation(
                "webhooks", record.id, f"its end at {record.completed_at} ({record.state}) was not delivered"
            )


def tellings(history: History) -> dict[str, list[Call]]:
    """Answers that say how a job stands, by job, in the order they were asked for."""
    found: dict[str, list[Call]] = defaultdict(list)
    for call in sorted(history.calls, key=lambda call: call.began):
        if call.tells and call.job:
            found[call.job].append(call)
    return found


def retried(history: History) -> dict[str, list[Call]]:
    """Explicit retries that may have taken effect: refused ones are left out."""
    found: dict[str, list[Call]] = defaultdict(list)
    for call in history.calls:
        if call.op == "retry" and not 400 <= call.status < 500:
            found[call.job].append(call)
    return found


def between(retries: list[Call], earlier: Call, later: Call) -> bool:
    """Whether one may have taken effect between two answers; one without an answer may have done so at any time."""
    return any(retry.began < later.ended and (retry.status != 202 or retry.ended > earlier.began) for retry in retries)
