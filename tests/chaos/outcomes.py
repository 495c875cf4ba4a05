"""Promises about what becomes of jobs: none lost, none made twice, outputs their own, none charged for others."""

from collections import defaultdict
from collections.abc import Iterator

from tests.chaos.history import TERMINAL, History, Intent, Record, Sort, Violation
from tests.chaos.reference import digest, outputs

#: Executions of a job that the model may fail, as the chaos models are submitted.
MAX_ATTEMPTS = 3
#: How a job fails that ends the process that runs it.
POISONED = frozenset({"worker_lost", "out_of_memory", "timed_out"})
#: Longest recorded part of an outcome in a violation, characters.
SHOWN = 80


def lost(history: History) -> Iterator[Violation]:
    """Every job answered with 202 has a record, which has ended."""
    records = {record.id: record for record in history.records}
    intents = {intent.key: intent for intent in history.intents}
    seen, purged = set(), set(history.purged)
    for call in history.calls:
        if not call.accepted or call.job in seen:
            continue
        seen.add(call.job)
        record = records.get(call.job)
        if record is None:
            if not (intents[call.key].pushed and call.job in purged):
                yield Violation("lost", call.job, f"accepted ({call.key}), and the store knows nothing of it")
        elif record.state not in TERMINAL:
            yield Violation("lost", call.job, f"accepted ({call.key}), and {record.state} at rest")
    pushed = {intent.key for intent in history.intents if intent.pushed}
    for call in history.calls:
        # What was pushed past the gateway has a record only once a worker has seen it.
        if call.status in (404, 410) and call.job in seen and call.job not in pushed:
            yield Violation("lost", call.job, f"{call.op} is answered with {call.status}")
    for record in history.records:
        if record.id not in seen and record.state not in TERMINAL | {"withdrawn"}:
            yield Violation("lost", record.id, f"never answered for, and {record.state} at rest")


def one_job_per_key(history: History) -> Iterator[Violation]:
    """An Idempotency-Key stands for one job, in answers and in the store, also where no answer came."""
    ids: dict[str, set[str]] = defaultdict(set)
    for call in history.calls:
        if call.accepted:
            ids[call.key].add(call.job)
    for record in live(history):
        ids[record.key].add(record.id)
    for key, found in ids.items():
        if key and len(found) > 1:
            yield Violation("one-job-per-key", key, f"made {sorted(found)}")


def own_outputs(history: History) -> Iterator[Violation]:
    """Every success has the outputs that belong to its own input, wherever it is told."""
    of_key = {intent.key: intent for intent in history.intents}
    intents = {record.id: of_key[record.key] for record in history.records if record.key in of_key}
    told = [
        *((record.id, record.state, record.outputs, True) for record in history.records),
        *((call.job, call.state, call.outputs, False) for call in history.calls if call.tells),
        *((one.job, one.state, one.outputs, False) for one in history.deliveries),
    ]
    for job, state, found, whole in told:
        if state == "succeeded" and job in intents and (found or whole) and found != outputs(intents[job].input):
            yield Violation("own-outputs", job, f"answered {found[:SHOWN]!r} to {intents[job].input[:SHOWN]!r}")


def innocents(history: History) -> Iterator[Violation]:
    """A job that its model can run succeeds, unless its client canceled it; one that it cannot run fails."""
    canceled = {call.job for call in history.calls if call.op == "cancel"}
    for intent, record in by_intent(history):
        if record.state not in TERMINAL or (record.state == "canceled" and record.id in canceled):
            continue
        if (complaint := misjudged(intent, record)) is not None:
            yield Violation("innocent", record.id, complaint)


def misjudged(intent: Intent, record: Record) -> str | None:
    match intent.sort:
        case Sort.INNOCENT | Sort.FLAKY:
            right = record.state == "succeeded"
        case Sort.POISON:
            right = record.state == "failed" and record.code in POISONED
        case Sort.BAD:
            right = record.state == "failed" and record.code == "model_error"
    return None if right else f"{intent.sort} job {intent.input[:SHOWN]!r} is {record.state} {record.code}".rstrip()


def charges(history: History) -> Iterator[Violation]:
    """Failures are counted for those that failed, as often as they may, and losses never beyond the faults."""
    most = {Sort.INNOCENT: 0, Sort.POISON: 1, Sort.BAD: MAX_ATTEMPTS, Sort.FLAKY: 1}
    for intent, record in by_intent(history):
        if record.failures > most[intent.sort]:
            yield Violation("charged", record.id, f"{intent.sort} job is charged {record.failures} failures")
        if intent.sort is Sort.BAD and record.state == "failed" and record.failures < MAX_ATTEMPTS:
            yield Violation("charged", record.id, f"failed after {record.failures} failures of {MAX_ATTEMPTS}")
        if record.losses > history.faults:
            yield Violation("charged", record.id, f"{record.losses} losses, and only {history.faults} faults")


def ran(history: History) -> Iterator[Violation]:
    """What succeeded was run; what was run is a job that the store stands by."""
    executed = {execution.input for execution in history.executions}
    held = {record.key for record in live(history)}
    for intent, record in by_intent(history):
        if record.state == "succeeded" and digest(intent.input) not in executed:
            yield Violation("ran", record.id, "succeeded, and no executor ran it")
        if record.state == "succeeded" and not record.attempt:
            yield Violation("ran", record.id, "succeeded without an attempt token")
    for intent in history.intents:
        if digest(intent.input) in executed and intent.key not in held:
            yield Violation("ran", intent.key, "an executor ran it, and the store knows no such job")


def live(history: History) -> list[Record]:
    return [record for record in history.records if record.state != "withdrawn"]


def by_intent(history: History) -> Iterator[tuple[Intent, Record]]:
    intents = {intent.key: intent for intent in history.intents}
    for record in live(history):
        if record.key in intents:
            yield intents[record.key], record
