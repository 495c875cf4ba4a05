"""After a scoring's end: what dead attempts left goes soon, what a further round needs stays, all of it expires."""

import pytest

from errors import AlreadyTerminal
from storage import keys
from storage.jobs import Due
from storage.scoring import ScoringStatus
from tasks.scoring.afterlife import Afterlife
from tests.scoring.desk import ID, Desk

PREFIX = f"acme/scorings/{ID}/"


def visit(desk: Desk) -> None:
    member = "scoring:" + ID
    at_ms = int(desk.store.zscore(keys.DUE, member))
    Afterlife(desk.scorings, desk.jobs, desk.objects).visit(Due(member, at_ms), ID)


def due_ms(desk: Desk) -> int:
    return int(desk.store.zscore(keys.DUE, "scoring:" + ID) or 0)


def ended(desk: Desk, rows: list[list[int]]) -> None:
    desk.table(rows)
    desk.create(result_ttl_s=60)
    desk.drive()


def test_what_a_late_attempt_left_is_erased_a_minute_after_the_end(desk: Desk) -> None:
    ended(desk, [[1, 2]] * 9)
    assert due_ms(desk) == desk.record().ended_ms + 60_000
    for name in ("in/0001-000.arrow", "out/00000000-7-late.arrow"):
        desk.objects.put(PREFIX + name, [b"x"])
    desk.store.hset(keys.scoring(ID), "expires_ms", desk.jobs.now_ms() + 90_000)
    visit(desk)
    assert desk.stored() == ["output.jsonl"]
    assert due_ms(desk) - desk.record().expires_ms < 1000


def test_outputs_of_shards_stay_while_failed_rows_may_run_again(desk: Desk) -> None:
    ended(desk, [[1, 13 if n == 3 else 2] for n in range(9)])
    before = desk.stored()
    desk.objects.put(PREFIX + "in/0001-000.arrow", [b"x"])
    desk.store.hset(keys.scoring(ID), "expires_ms", desk.jobs.now_ms() + 90_000)
    visit(desk)
    assert desk.stored() == before
    assert [key for key in before if key.startswith("out/")]


def test_all_of_it_is_erased_at_the_expiry_and_a_tombstone_stays(desk: Desk) -> None:
    ended(desk, [[1, 13 if n == 3 else 2] for n in range(9)])
    desk.store.hset(keys.scoring(ID), "expires_ms", desk.jobs.now_ms())
    visit(desk)
    one = desk.record()
    assert (one.erased, one.output_key, desk.stored()) == ("expired", "", [])
    visit(desk)
    assert due_ms(desk) == 0
    assert desk.scorings.list("acme", limit=9).scorings == []


def test_one_that_runs_again_is_left_alone(desk: Desk) -> None:
    ended(desk, [[1, 13 if n == 3 else 2] for n in range(9)])
    at_ms = due_ms(desk)
    desk.scorings.retry_failed(ID)
    before = desk.stored()
    desk.store.zadd(keys.DUE, {"scoring:" + ID: at_ms})
    visit(desk)
    assert (desk.stored(), due_ms(desk)) == (before, 0)
    desk.executors.fails = lambda row, x: False
    desk.drive()
    assert desk.record().status is ScoringStatus.COMPLETED
    with pytest.raises(AlreadyTerminal):
        desk.scorings.retry_failed(ID)
    assert desk.stored() == ["output.jsonl"]
