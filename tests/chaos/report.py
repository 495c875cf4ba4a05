"""What came of a run: figures, violations, and both as text."""

import statistics
from collections import Counter
from collections.abc import Sequence

import msgspec

from tests.chaos.checker import check, unchecked
from tests.chaos.history import Execution, History, Sort, Violation
from tests.chaos.reference import digest

#: Violations shown as text; the JSON has all.
SHOWN = 40


class Struck(msgspec.Struct, frozen=True, kw_only=True):
    """A fault that was made."""

    name: str
    where: str
    #: Seconds since the run began.
    at_s: float
    lasted_s: float
    #: From healing to the first end of a job that was submitted after it; None where there was none in time.
    recovered_s: float | None = None
    #: The same for each model's jobs, the slowest; None where a model had none any more before the run's end.
    every_model_s: float | None = None


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One seed's."""

    seed: int
    seconds: float
    #: servers, cluster or embedded.
    way: str
    accepted: int
    #: Final states of the store's records.
    states: dict[str, int]
    faults: list[Struck]
    violations: list[Violation]
    unchecked: list[str]
    #: What is wrong with the processes, not with jobs: one that ended by itself.
    complaints: list[str]
    #: From the last heal until nothing was left to do, seconds.
    rest_s: float
    batches: dict[int, int]
    poisonous: int
    #: Innocent jobs that shared a batch with a poisonous one; and how many of them came to no good end.
    neighbours: int
    neighbours_failed: int
    #: Answers to requests by status; 0: none came.
    answers: dict[int, int]


def result(
    history: History, *, seed: int, seconds: float, way: str, faults: list[Struck], rest_s: float,
    complaints: list[str],
) -> Result:  # fmt: skip
    violations = check(history)
    neighbours = beside_poison(history)
    keys = {record.id: record.key for record in history.records}
    failed = {keys.get(one.subject) for one in violations if one.check == "innocent"}
    return Result(
        seed=seed,
        seconds=seconds,
        way=way,
        accepted=len({call.job for call in history.calls if call.accepted}),
        states=dict(Counter(record.state for record in history.records)),
        faults=faults,
        violations=violations,
        unchecked=unchecked(history),
        complaints=complaints,
        rest_s=round(rest_s, 1),
        batches=dict(sorted(batches(history.executions).items())),
        poisonous=sum(intent.sort is Sort.POISON for intent in history.intents),
        neighbours=len(neighbours),
        neighbours_failed=len(neighbours & failed),
        answers=dict(sorted(Counter(call.status for call in history.calls).items())),
    )


def batches(executions: Sequence[Execution]) -> Counter[int]:
    """How many batches there were of each size."""
    return Counter({one.batch: one.size for one in executions}.values())


def beside_poison(history: History) -> set[str]:
    """Keys of innocent jobs that were in one batch with a poisonous one."""
    sorts = {digest(intent.input): intent for intent in history.intents}
    poisoned = {one.batch for one in history.executions if one.input in sorts and sorts[one.input].sort is Sort.POISON}
    found = {sorts[one.input] for one in history.executions if one.batch in poisoned and one.input in sorts}
    return {intent.key for intent in found if intent.sort is Sort.INNOCENT}


def text(results: Sequence[Result]) -> str:
    """All seeds in some lines."""
    faults = [fault for one in results for fault in one.faults]
    recovered = sorted(fault.recovered_s for fault in faults if fault.recovered_s is not None)
    violations = [(one.seed, violation) for one in results for violation in one.violations]
    lines = [
        f"seeds {', '.join(str(one.seed) for one in results)}: {sum(one.accepted for one in results)} accepted jobs, "
        f"{len(faults)} faults, {len(violations)} violations",
        "faults: " + ", ".join(f"{name} {count}" for name, count in sorted(Counter(f.name for f in faults).items())),
    ]
    if recovered:
        p95 = statistics.quantiles(recovered, n=20)[-1] if len(recovered) > 1 else recovered[0]
        slowest = max(faults, key=lambda fault: fault.recovered_s or 0)
        lines.append(
            f"first completion after healing: median {statistics.median(recovered):.1f} s, p95 {p95:.1f} s, most "
            f"{recovered[-1]:.1f} s ({slowest.name} {slowest.where}); none in time: {len(faults) - len(recovered)}"
        )
    if every := sorted(fault.every_model_s for fault in faults if fault.every_model_s is not None):
        slowest = max(faults, key=lambda fault: fault.every_model_s or 0)
        lines.append(
            f"of every model: median {statistics.median(every):.1f} s, most {every[-1]:.1f} s "
            f"({slowest.name} {slowest.where})"
        )
    lines += [
        f"poisonous jobs {sum(one.poisonous for one in results)}, innocent ones beside them "
        f"{sum(one.neighbours for one in results)}, of which failed {sum(one.neighbours_failed for one in results)}",
        f"rest after at most {max(one.rest_s for one in results):.1f} s",
    ]
    for one in results:
        lines += [f"seed {one.seed}: not checked: {what}" for what in one.unchecked]
        lines += [f"seed {one.seed}: {what}" for what in one.complaints]
    lines += [f"VIOLATION seed {seed}: {violation}" for seed, violation in violations[:SHOWN]]
    if len(violations) > SHOWN:
        lines.append(f"… and {len(violations) - SHOWN} more")
    return "\n".join(lines)
