"""A scoring is driven from its input to its output: in shards, a window at a time, whatever its rows do."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from errors import InvalidInput
from storage.driven import wanting
from storage.jobs import Want
from storage.scoring import ScoringStatus
from tasks.scoring.ahead import DEPTH
from tests.scoring.desk import ID, INPUT, Desk

ROWS = [[n, 1] for n in range(100, 137)]


def plain(count: int) -> list[list[int]]:
    """Rows that do nothing special."""
    return [[n + 1000, 1] for n in range(count)]


def when(desk: Desk, shards: int, act: Callable[[], object]) -> Callable[[], object]:
    """Do it once more than so many shards have run."""
    return lambda: act() if len(desk.executors.ran) > shards else None


def lines(desk: Desk) -> list[dict[str, Any]]:
    return [json.loads(line) for line in desk.output().splitlines()]


def test_every_row_has_its_output_in_the_order_of_the_input(desk: Desk) -> None:
    desk.table(ROWS)
    desk.create()
    desk.drive()
    one = desk.record()
    assert (one.status, one.total, one.done, one.failed) == (ScoringStatus.COMPLETED, 37, 37, 0)
    assert [line["y"] for line in lines(desk)] == [float(sum(row)) for row in ROWS]
    assert [line["custom_id"] for line in lines(desk)] == [f"r{n}" for n in range(37)]
    assert [rows for _, rows in sorted(desk.executors.ran)] == [8, 8, 8, 8, 5]
    assert desk.stored() == ["output.jsonl"]
    assert desk.left_in_redis() == []
    assert 0 < one.validating_ms <= one.running_ms <= one.merging_ms <= one.ended_ms
    assert one.output_bytes == len(desk.output())


def test_no_more_than_a_window_is_out_however_long_the_table_is(desk: Desk) -> None:
    desk.table(plain(400))
    desk.create()
    most: list[int] = []
    desk.waits.insert(0, lambda: most.append(len(desk.outbox.messages)))
    desk.drive()
    assert max(most) == 4
    assert len(desk.executors.ran) == 50


def test_shard_that_hangs_behind_lets_only_so_many_pass(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.scoring.pacing.AHEAD", 6)
    desk.table(plain(200))
    desk.create()
    passed = 0

    def held(id: str) -> bool:
        return id.endswith("0000") and len(desk.executors.ran) < 5

    desk.executors.held = held

    def look() -> None:
        nonlocal passed
        passed = max(passed, desk.store.hlen(f"penstock:scoring:{ID}:shards"))

    desk.waits.append(look)
    desk.drive()
    assert passed == 6
    assert len(lines(desk)) == 200


def test_first_batches_measure_what_a_shard_is_to_have_whatever_single_jobs_took(desk: Desk) -> None:
    desk.store.hset("penstock:statistics:cpu:mlp:1", mapping={"rows": 100, "compute:sum": 20_000.0})
    desk.table(plain(3000))
    desk.create(shard_rows=0)
    desk.drive()
    sizes = [rows for _, rows in sorted(desk.executors.ran)]
    # One millisecond a row: 1,000 in a second. So many batches went out, or were cut, before one had run.
    first = sizes.count(4)
    assert 4 <= first <= 4 + DEPTH + 1
    assert sizes[first:-1] == [1000] * (len(sizes) - first - 1)
    assert [line["y"] for line in lines(desk)] == [float(n + 1001) for n in range(3000)]


def test_first_batches_that_were_cold_do_not_make_shards_small_for_good(desk: Desk) -> None:
    desk.executors.row_ms = lambda: 20.0 if len(desk.executors.ran) < 6 else 1.0
    desk.table(plain(5000))
    desk.create(shard_rows=0)
    desk.drive()
    sizes = [rows for _, rows in sorted(desk.executors.ran)]
    assert set(sizes[:-1]) <= {4, 48, 1000}
    assert 1000 in sizes
    assert [line["y"] for line in lines(desk)] == [float(n + 1001) for n in range(5000)]


def test_shard_of_heavy_rows_ends_where_it_has_enough_bytes(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    # A row weighs about 28 bytes: 15 rows fill it, and 16 are whole batches.
    monkeypatch.setattr("tasks.scoring.pacing.MOST_BYTES", 400)
    desk.table([[n + 1000, 13 if n % 2 else 1] for n in range(100)])
    desk.create(shard_rows=64)
    desk.drive()
    sizes = {rows for _, rows in desk.executors.ran}
    assert max(sizes) == 16
    assert all(rows % 4 == 0 for rows in sizes)
    desk.executors.ran.clear()
    desk.scorings.retry_failed(ID)
    desk.drive()
    assert max(rows for _, rows in desk.executors.ran) == 16
    assert (desk.record().done, desk.record().failed, len(lines(desk))) == (100, 50, 50)


def test_rows_that_fail_are_apart_with_their_number_name_and_reason(desk: Desk) -> None:
    desk.table([[1, 2], "broken", [3, 13], [4, 5], [6, 7], [8, 9], [13, 0], [1, 1], [2, 2], "broken"])
    desk.create(shard_rows=4)
    desk.drive()
    one = desk.record()
    assert (one.status, one.total, one.done, one.failed) == (ScoringStatus.COMPLETED, 10, 10, 4)
    assert [line["y"] for line in lines(desk)] == [3, 9, 13, 17, 2, 4]
    assert [(bad.row, bad.code) for bad in desk.errors()] == [
        (1, "invalid_input"), (2, "model_error"), (6, "model_error"), (9, "invalid_input"),
    ]  # fmt: skip
    # What may be run again and merged once more stays until then.
    assert [key for key in desk.stored() if not key.startswith(("out/", "index/"))] == ["errors.jsonl", "output.jsonl"]


def test_row_that_kills_every_worker_fails_alone(desk: Desk) -> None:
    desk.table([[n + 1000, 66 if n == 21 else 1] for n in range(40)])
    desk.create(shard_rows=16)
    desk.drive()
    one = desk.record()
    assert (one.status, one.done, one.failed) == (ScoringStatus.COMPLETED, 40, 1)
    (bad,) = desk.errors()
    assert (bad.row, bad.code, bad.detail) == (21, "worker_lost", "gone")
    assert len(lines(desk)) == 39
    assert not [key for key in desk.stored() if key.startswith("in/")]
    assert desk.left_in_redis() == []


def test_shard_in_parts_keeps_to_the_window(desk: Desk) -> None:
    desk.table([[n + 1000, 66] for n in range(40)] + plain(3))
    desk.create(shard_rows=20)
    most: list[int] = []
    desk.waits.insert(0, lambda: most.append(len(desk.outbox.messages)))
    desk.drive()
    assert max(most) <= 4
    assert (desk.record().status, desk.record().failed, len(lines(desk))) == (ScoringStatus.COMPLETED, 40, 3)


def test_model_that_runs_no_row_at_all_ends_it_soon(desk: Desk) -> None:
    desk.table([[n + 1000, 66] for n in range(4000)])
    desk.create(shard_rows=1000)
    desk.drive()
    one = desk.record()
    assert (one.status, one.failed) == (ScoringStatus.FAILED, 64)
    assert "no row could be run; the last failed alone as worker_lost" in json.loads(one.error)["detail"]
    assert len(desk.executors.ran) < 200


def test_too_many_failed_rows_end_it_and_what_is_done_is_merged(desk: Desk) -> None:
    desk.table([[n + 1000, 13 if n < 8 else 1] for n in range(80)])
    desk.create(max_failed_rows=3, shard_rows=4)
    desk.drive()
    one = desk.record()
    assert one.status is ScoringStatus.FAILED
    assert json.loads(one.error)["code"] == "too_many_failed_rows"
    assert one.failed == len(desk.errors()) > 3
    assert one.done == one.failed + len(lines(desk)) < 80
    assert desk.left_in_redis() == []


def test_cancel_keeps_what_is_done(desk: Desk) -> None:
    desk.table(plain(400))
    desk.create()
    desk.waits.append(when(desk, 9, lambda: desk.scorings.cancel(ID)))
    desk.drive()
    one = desk.record()
    assert (one.status, one.merging_ms) == (ScoringStatus.CANCELED, 0)
    assert 0 < one.done == len(lines(desk)) < 400
    assert [line["y"] for line in lines(desk)] == [float(n + 1001) for n in range(one.done)]
    assert desk.left_in_redis() == []
    assert desk.stored() == ["output.jsonl"]


def test_cancel_calls_back_what_waits_and_leaves_what_never_ends(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.scoring.ending.PATIENCE_S", 0.0)
    desk.table(plain(400))
    desk.create()
    desk.waits[0] = lambda: desk.scorings.cancel(ID)
    desk.drive()
    one = desk.record()
    assert (one.status, one.done, one.output_key, desk.stored()) == (ScoringStatus.CANCELED, 0, "", [])


def test_input_that_does_not_fit_fails_before_any_row_runs(desk: Desk) -> None:
    desk.objects.put(INPUT, [b'{"z": [1, 2]}\n'])
    desk.create()
    desk.drive()
    one = desk.record()
    assert (one.status, one.running_ms, desk.executors.ran) == (ScoringStatus.FAILED, 0, [])
    assert json.loads(one.error)["code"] == InvalidInput.code


def test_input_that_was_changed_is_refused(desk: Desk) -> None:
    desk.table(ROWS)
    desk.create()
    desk.table(ROWS[:-1])
    desk.drive()
    assert json.loads(desk.record().error)["code"] == "input_changed"


def test_dry_run_counts_and_estimates_and_runs_nothing(desk: Desk) -> None:
    desk.table(ROWS)
    desk.create(dry_run=True)
    desk.store.hset("penstock:statistics:cpu:mlp:1", mapping={"rows": 100, "compute:sum": 200.0})
    desk.drive()
    one = desk.record()
    assert (one.status, one.total, one.done, desk.executors.ran) == (ScoringStatus.COMPLETED, 37, 0, [])
    assert one.estimate is not None
    assert (one.estimate.rows, one.estimate.shards) == (37, 5)
    # 2 ms a row, on two executors.
    assert one.estimate.seconds == pytest.approx(0.037)
    assert one.estimate.bytes > 0
    assert desk.stored() == []


def test_failed_rows_run_again_and_are_merged_over_the_first_round(desk: Desk) -> None:
    desk.table([[n + 1000, 13 if n % 10 == 3 else 1] for n in range(95)])
    desk.create()
    desk.drive()
    assert desk.record().failed == 10
    before = {line["custom_id"]: line["y"] for line in lines(desk)}
    ran = len(desk.executors.ran)
    # The model has learnt, but for one row.
    desk.executors.fails = lambda row, x: row == 53
    desk.scorings.retry_failed(ID)
    desk.drive()
    one = desk.record()
    assert (one.status, one.round, one.total, one.done, one.failed) == (ScoringStatus.COMPLETED, 2, 95, 95, 1)
    assert [rows for _, rows in sorted(desk.executors.ran[ran:])] == [8, 2]
    after = {line["custom_id"]: line["y"] for line in lines(desk)}
    assert [line["custom_id"] for line in lines(desk)] == [f"r{n}" for n in range(95) if n != 53]
    assert {name: after[name] for name in before} == before
    assert [bad.row for bad in desk.errors()] == [53]
    desk.scorings.retry_failed(ID)
    desk.drive()
    assert (desk.record().failed, desk.record().done, len(lines(desk))) == (1, 95, 94)


def test_second_round_that_is_canceled_forgets_no_failed_row(desk: Desk) -> None:
    desk.table([[n + 1000, 13 if n % 2 else 1] for n in range(80)])
    desk.create(shard_rows=4)
    desk.drive()
    desk.scorings.retry_failed(ID)
    desk.executors.ran.clear()
    desk.waits.append(when(desk, 3, lambda: desk.scorings.cancel(ID)))
    desk.drive()
    one = desk.record()
    assert (one.status, one.done, one.failed) == (ScoringStatus.CANCELED, 80, 40)
    assert [bad.row for bad in desk.errors()] == list(range(1, 80, 2))
    assert len(lines(desk)) == 40


def test_canceled_one_stays_canceled_after_its_failed_rows_ran_again(desk: Desk) -> None:
    desk.table([[n + 1000, 13 if n < 2 else 1] for n in range(400)])
    desk.create()
    canceling = when(desk, 9, lambda: desk.scorings.cancel(ID))
    desk.waits.append(canceling)
    desk.drive()
    done = desk.record().done
    desk.waits.remove(canceling)
    desk.executors.fails = lambda row, x: False
    desk.scorings.retry_failed(ID)
    desk.drive()
    one = desk.record()
    assert (one.status, one.done, one.failed, len(lines(desk))) == (ScoringStatus.CANCELED, done, 0, done)


def test_straggler_runs_a_second_time_and_the_first_end_counts(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.scoring.running.SWEEP_S", 0.0)
    monkeypatch.setattr("tasks.scoring.pacing.SLOW_MS", -1)
    monkeypatch.setattr("tasks.scoring.pacing.SLOW_TIMES", -1)
    desk.table(plain(40))
    desk.create()
    slow = f"{ID}-00000002"
    claimed: list[int] = []
    desk.executors.held = lambda id: id == slow

    def claim() -> None:
        if not claimed and desk.jobs.get(slow):
            claimed.append(1)
            desk.jobs.claim_all(
                [Want(slow, "cpu.mlp.1.low", False, "w2/1")], device="cpu:1", losses_allowed=2, lost_error=b""
            )

    desk.waits.append(claim)
    desk.drive()
    assert desk.record().status is ScoringStatus.COMPLETED
    assert [line["y"] for line in lines(desk)] == [float(n + 1001) for n in range(40)]
    assert (slow + "b", 8) in desk.executors.ran
    loser = desk.jobs.get(slow)
    assert loser is not None
    assert loser.cancel_requested


def test_only_shard_of_a_table_gets_a_twin_where_it_takes_far_longer_than_its_rows_should(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.scoring.running.SWEEP_S", 0.0)
    monkeypatch.setattr("tasks.scoring.pacing.SLOW_MS", -1)
    monkeypatch.setattr("tasks.scoring.pacing.SLOW_TIMES", -1)
    desk.store.hset("penstock:statistics:cpu:mlp:1", mapping={"rows": 100, "compute:sum": 100.0})
    desk.table(plain(8))
    desk.create()
    slow = f"{ID}-00000000"
    desk.executors.held = lambda id: id == slow

    def claim() -> None:
        if desk.jobs.get(slow):
            desk.jobs.claim_all(
                [Want(slow, "cpu.mlp.1.low", False, "w2/1")], device="cpu:1", losses_allowed=2, lost_error=b""
            )
            desk.waits.remove(claim)

    desk.waits.append(claim)
    desk.drive()
    assert desk.executors.ran == [(slow + "b", 8)]
    assert [line["y"] for line in lines(desk)] == [float(n + 1001) for n in range(8)]


def test_erased_while_it_runs_it_leaves_nothing(desk: Desk) -> None:
    desk.table(plain(400))
    desk.create(metadata={"secret": 1})
    desk.waits.append(when(desk, 9, lambda: desk.scorings.erase(desk.record())))
    desk.drive()
    one = desk.record()
    assert (one.status, one.erased, one.spec.metadata, desk.stored()) == (ScoringStatus.CANCELED, "deleted", {}, [])
    assert desk.left_in_redis() == []


def test_messages_that_come_twice_change_nothing(desk: Desk) -> None:
    desk.table([[n + 1000, 13 if n == 5 else 1] for n in range(100)])
    desk.create()
    desk.executors.twice = True
    desk.drive()
    assert (desk.record().done, desk.record().failed, len(lines(desk))) == (100, 1, 99)


def test_process_that_is_to_end_gives_the_scoring_back_at_once(desk: Desk) -> None:
    desk.table(plain(100))
    desk.create()
    desk.waits.append(when(desk, 3, desk.stop.set))
    desk.drive()
    assert desk.record().status is ScoringStatus.RUNNING
    desk.stop.clear()
    desk.waits.pop()
    assert wanting(desk.scorings) == 1
    desk.drive()
    assert [line["y"] for line in lines(desk)] == [float(n + 1001) for n in range(100)]
