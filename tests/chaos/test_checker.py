"""The checker finds what it is for: each promise broken by hand, in a history that else keeps them all."""

import msgspec
import pytest

from tests.chaos.checker import CHECKS, check, unchecked
from tests.chaos.history import Call, Delivery, Execution, History, Intent, Record, Rest, Sort
from tests.chaos.reference import digest, outputs

AT, LATER = "2026-01-01T00:00:01.000Z", "2026-01-01T00:00:09.000Z"
GOOD = [Intent(key=f"k{n}", model="quick", input=f"say:{n}", webhook=n == 1) for n in range(4)]


def submitted(intent: Intent, job: str, began: float = 0, **fields: object) -> Call:
    return Call(began=began, ended=began + 1, op="submit", key=intent.key, job=job, status=202, **fields)  # type: ignore[arg-type]


def told(job: str, state: str, began: float, **fields: object) -> Call:
    return Call(began=began, ended=began + 1, op="poll", job=job, status=200, state=state, **fields)  # type: ignore[arg-type]


def stored(intent: Intent, job: str, **fields: object) -> Record:
    found = {"state": "succeeded", "attempt": 1, "completed_at": AT, "outputs": outputs(intent.input)}
    return Record(id=job, key=intent.key, **(found | fields))  # type: ignore[arg-type]


def good() -> History:
    """Four jobs that were submitted, run in one batch, polled, delivered and stored as they should."""
    jobs = [f"job{n}" for n in range(4)]
    pairs = list(zip(GOOD, jobs, strict=True))
    polls = [told(job, "running", 2, attempt=1) for job in jobs]
    ends = [told(job, "succeeded", 4, attempt=1, completed_at=AT, outputs=outputs(i.input)) for i, job in pairs]
    return History(
        intents=tuple(GOOD),
        calls=(*(submitted(intent, job) for intent, job in pairs), *polls, *ends),
        executions=tuple(Execution(digest(intent.input), "batch", 4) for intent in GOOD),
        records=tuple(stored(intent, job) for intent, job in pairs),
        deliveries=(arrived("job1", GOOD[1]),),
        rest=Rest(due=("erase:job0",), messages={"cpu.quick.1.normal": 0}),
        faults=3,
        webhooks=True,
    )


def arrived(job: str, intent: Intent, **fields: object) -> Delivery:
    found = {"at": 5, "id": "msg1", "type": "job.completed", "state": "succeeded", "completed_at": AT}
    return Delivery(job=job, outputs=outputs(intent.input), **(found | fields))  # type: ignore[arg-type]


def with_calls(*calls: Call) -> History:
    return msgspec.structs.replace(good(), calls=(*good().calls, *calls))


def with_record(number: int, **fields: object) -> History:
    """One record of the good history is another in the end."""
    records = list(good().records)
    records[number] = msgspec.structs.replace(records[number], **fields)
    return msgspec.structs.replace(good(), records=tuple(records))


def of_sort(sort: Sort, **fields: object) -> History:
    """The first job is of another sort; nobody was told of its end."""
    intents = (msgspec.structs.replace(GOOD[0], sort=sort), *GOOD[1:])
    history = with_record(0, **fields)
    calls = tuple(call for call in history.calls if call.job != "job0" or call.op == "submit")
    return msgspec.structs.replace(history, intents=intents, calls=calls)


def found(history: History) -> set[str]:
    return {violation.check for violation in check(history)}


CANCEL = Call(began=3, ended=3.5, op="cancel", job="job0", status=200, state="running", attempt=1)
RETRY = Call(began=6, ended=7, op="retry", job="job0", status=202, state="queued", attempt=1)
LARGE = Rest(objects=("acme/jobs/gone/out/1",))

#: What is planted, the history with it, and the check that must tell.
PLANTED = {
    "a lost job": (msgspec.structs.replace(good(), records=good().records[1:]), "lost"),
    "a job without an end": (with_record(0, state="running"), "lost"),
    "a job that the gateway does not know": (
        with_calls(Call(began=2, ended=3, op="poll", job="job0", status=404)), "lost",
    ),
    "a record nobody was told of, without an end": (
        msgspec.structs.replace(good(), records=(*good().records, Record(id="other", key="", state="queued"))), "lost",
    ),
    "a second job for one key, answered": (with_calls(submitted(GOOD[0], "job9")), "one-job-per-key"),
    "a second job for one key, in the store alone": (
        msgspec.structs.replace(good(), records=(*good().records, stored(GOOD[0], "job9"))), "one-job-per-key",
    ),
    "a crossed batch": (with_record(0, outputs=outputs(GOOD[1].input)), "own-outputs"),
    "a crossed answer": (
        with_calls(told("job0", "succeeded", 8, attempt=1, completed_at=AT, outputs=outputs("say:1"))), "own-outputs",
    ),
    "no outputs": (with_record(0, outputs=""), "own-outputs"),
    "a failed innocent": (with_record(0, state="failed", code="worker_lost", outputs=""), "innocent"),
    "an innocent canceled by nobody": (with_record(0, state="canceled", outputs=""), "innocent"),
    "poison that succeeded": (of_sort(Sort.POISON), "innocent"),
    "a model's error that succeeded": (of_sort(Sort.BAD), "innocent"),
    "an innocent that was charged": (with_record(0, failures=1), "charged"),
    "losses without faults": (with_record(0, losses=4), "charged"),
    "a failure too soon": (of_sort(Sort.BAD, state="failed", code="model_error", failures=1, outputs=""), "charged"),
    "a success that nobody ran": (msgspec.structs.replace(good(), executions=good().executions[1:]), "ran"),
    "a run without a job": (msgspec.structs.replace(good(), records=good().records[1:]), "ran"),
    "a double commit": (
        with_calls(told("job0", "succeeded", 2, attempt=1, completed_at=LATER, outputs=outputs("say:0"))), "one-end",
    ),
    "an end that the store forgot": (with_record(0, completed_at="2026-01-01T00:00:00.500Z"), "one-end"),
    "two outcomes of one end": (with_calls(told("job0", "failed", 8, attempt=1, completed_at=AT)), "one-outcome"),
    "another outcome in the store": (with_record(0, state="failed", code="model_error", outputs=""), "one-outcome"),
    "another outcome by webhook": (
        msgspec.structs.replace(good(), deliveries=(arrived("job1", GOOD[1], state="failed"),)), "one-outcome",
    ),
    "a poll after the end that says running": (with_calls(told("job0", "running", 9, attempt=1)), "monotone"),
    "a token that fell": (with_calls(told("job0", "running", 0.5, attempt=2)), "monotone"),
    "a token that the store forgot": (with_calls(told("job0", "queued", 0.5, attempt=3)), "monotone"),
    "success after an acknowledged cancel": (with_calls(CANCEL), "canceled"),
    "a webhook that was not delivered": (msgspec.structs.replace(good(), deliveries=()), "webhooks"),
    "a webhook under two ids": (
        msgspec.structs.replace(good(), deliveries=(arrived("job1", GOOD[1]), arrived("job1", GOOD[1], id="msg2"))),
        "webhooks",
    ),
    "a webhook with a wrong signature": (
        msgspec.structs.replace(good(), deliveries=(arrived("job1", GOOD[1], signed=False),)), "webhooks",
    ),
    "a leftover message": (msgspec.structs.replace(good(), rest=Rest(messages={"dead": 1})), "messages"),
    "one that still waits": (msgspec.structs.replace(good(), rest=Rest(waiting=("job0",))), "waiting"),
    "a retry that nobody makes": (msgspec.structs.replace(good(), rest=Rest(due=("retry:job0",))), "due"),
    "a webhook that nobody sends": (msgspec.structs.replace(good(), rest=Rest(untold=1)), "untold"),
    "an orphan object": (msgspec.structs.replace(good(), rest=LARGE), "objects"),
    "a lost object": (msgspec.structs.replace(good(), rest=Rest(named=("acme/jobs/job0/out/1",))), "objects"),
}  # fmt: skip


def test_good_history_has_no_violation() -> None:
    assert check(good()) == []


@pytest.mark.parametrize("planted", PLANTED)
def test_broken_promise_is_found(planted: str) -> None:
    history, expected = PLANTED[planted]
    assert expected in found(history)


def test_every_check_finds_something() -> None:
    assert {expected for _, expected in PLANTED.values()} == set(CHECKS)


@pytest.mark.parametrize("before", ["2026-01-01T00:00:00.500Z", LATER], ids=["clocks agree", "a clock is behind"])
def test_explicit_retry_lets_a_job_end_again(before: str) -> None:
    canceled = told("job0", "canceled", 4, attempt=1, completed_at=before)
    calls = [call for call in good().calls if call.job != "job0" or call.op == "submit"]
    end = told("job0", "succeeded", 8, attempt=2, completed_at=AT, outputs=outputs("say:0"))
    history = msgspec.structs.replace(with_record(0, attempt=2), calls=(*calls, CANCEL, canceled, RETRY, end))
    assert check(history) == []


def test_retry_that_was_refused_excuses_nothing() -> None:
    refused = msgspec.structs.replace(RETRY, status=409, state="")
    later = told("job0", "queued", 9, attempt=1)
    assert "monotone" in found(with_calls(refused, later))


def test_answers_that_overlap_may_come_in_any_order() -> None:
    assert check(with_calls(told("job0", "running", 4.5, attempt=1))) == []


def test_withdrawn_submission_need_not_end() -> None:
    withdrawn = Record(id="job9", key="", state="withdrawn")
    assert check(msgspec.structs.replace(good(), records=(*good().records, withdrawn))) == []


def test_job_without_an_answer_may_be_there_or_not() -> None:
    other = Intent(key="k9", model="quick", input="say:9")
    silent = Call(began=0, ended=1, op="submit", key="k9", status=0)
    history = with_calls(silent)
    absent = msgspec.structs.replace(history, intents=(*GOOD, other))
    present = msgspec.structs.replace(
        absent,
        records=(*absent.records, stored(other, "job9")),
        executions=(*absent.executions, Execution(digest(other.input), "b", 1)),
    )
    assert check(absent) == check(present) == []


def test_push_that_was_purged_with_its_only_copy_is_not_lost() -> None:
    push = Intent(key="p1", model="quick", input="say:p", pushed=True)
    call = Call(began=10, ended=11, op="push", key="p1", job="p1", status=202)
    history = msgspec.structs.replace(with_calls(call), intents=(*GOOD, push))
    assert found(history) == {"lost"}
    assert check(msgspec.structs.replace(history, purged=("p1",))) == []


def test_recorded_exhaustion_stands_for_a_delivery() -> None:
    history = msgspec.structs.replace(with_record(1, exhausted=(AT,)), deliveries=())
    assert check(history) == []


def test_without_webhooks_they_are_named_as_unchecked() -> None:
    assert unchecked(msgspec.structs.replace(good(), webhooks=False)) == ["webhooks"]
    assert unchecked(good()) == []
