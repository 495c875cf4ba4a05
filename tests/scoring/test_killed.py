"""A driver that is killed at any step: whoever goes on loses no row, doubles none, and writes the same bytes."""

from collections.abc import Iterable

import pytest

from storage.scoring import ScoringStatus
from storage.streams import Stored
from tests.scoring.desk import ID, Desk, Killed
from tests.scoring.test_afterlife import visit
from tests.scoring.test_driving import when

#: Rows of every fate: run, broken, failed in the model, and one that takes its worker along.
TABLE = ["broken" if n == 5 else [n + 1000, 13] if n % 17 == 3 else [n + 1000, 66 if n == 9 else 1] for n in range(26)]
STEPS = range(1, 200)


def outcome(desk: Desk) -> tuple[object, ...]:
    one = desk.record()
    return one.status, one.round, one.total, one.done, one.failed, desk.output(), desk.errors()


def undisturbed(desk: Desk) -> tuple[object, ...]:
    desk.drive()
    found = outcome(desk)
    anew(desk)
    return found


def anew(desk: Desk) -> None:
    desk.store.flushall()
    desk.objects.delete_prefix(f"acme/scorings/{ID}/")
    desk.outbox.messages.clear()
    desk.idle = 0
    desk.beat()


def go_on(desk: Desk) -> None:
    desk.fuse.left = -1
    desk.lapse()
    desk.drive()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_any_step_of_a_run(desk: Desk, after: bool) -> None:
    desk.table(TABLE)
    desk.create(shard_rows=8)
    whole = undisturbed(desk)
    assert whole[:5] == (ScoringStatus.COMPLETED, 1, 26, 26, 4)
    desk.fuse.after = after
    for step in STEPS:
        desk.create(shard_rows=8)
        desk.fuse.left, desk.fuse.count = step, 0
        try:
            desk.drive()
        except Killed:
            # Its end may have been noted by then.
            if not desk.record().ended:
                go_on(desk)
            assert outcome(desk) == whole, step
            # What it left where it died between its end and the cleaning goes a minute later.
            visit(desk)
            assert [key for key in desk.stored() if key.startswith("in/")] == [], step
            anew(desk)
        else:
            assert step > 60
            break


def test_killed_while_it_measures_how_many_rows_a_shard_is_to_have(desk: Desk) -> None:
    desk.table(TABLE)
    desk.create(shard_rows=0)
    whole = undisturbed(desk)
    for step in STEPS[::3]:
        desk.create(shard_rows=0)
        desk.fuse.left, desk.fuse.count = step, 0
        try:
            desk.drive()
        except Killed:
            if not desk.record().ended:
                go_on(desk)
            assert outcome(desk) == whole, step
            anew(desk)
        else:
            assert step > 50
            break


@pytest.mark.parametrize("file", ["/0001-half-", "-unread.jsonl"])
def test_write_of_one_that_was_taken_over_reaches_no_file_of_its_successor(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    desk.table(TABLE)
    desk.create(shard_rows=8)
    whole = undisturbed(desk)
    put = desk.objects.put
    late: list[str] = []

    def stalled(key: str, chunks: Iterable[bytes], **options: bool) -> Stored:
        if file in key and not late:
            late.append(key)
            raise Killed
        return put(key, chunks, **options)

    monkeypatch.setattr(desk.objects, "put", stalled)
    desk.create(shard_rows=8)
    with pytest.raises(Killed):
        desk.drive()
    # It comes through at last, again and again, and its rows are others by now.
    desk.waits.insert(0, lambda: put(late[0], [b"other rows"]))
    go_on(desk)
    assert outcome(desk) == whole


def test_files_of_a_round_that_begins_at_once_outlive_the_end_of_the_one_before(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.table([[n + 1000, 13] for n in range(16)])
    desk.create(shard_rows=8)
    erase = desk.objects.delete_prefix
    began: list[int] = []

    def late(prefix: str) -> None:
        if desk.record().ended and not began:
            desk.scorings.retry_failed(ID)
            began.append(1)
            desk.waits[0] = desk.stop.set
            desk.drive()
            desk.stop.clear()
        erase(prefix)

    monkeypatch.setattr(desk.objects, "delete_prefix", late)
    desk.drive()
    assert began
    assert len([key for key in desk.stored() if key.startswith("in/")]) == 2


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_any_step_of_a_round_in_which_every_row_succeeds(desk: Desk, after: bool) -> None:
    desk.table([[n + 1000, 13 if n % 3 == 0 else 1] for n in range(16)])
    for step in STEPS:
        desk.fuse.left = -1
        desk.executors.fails = lambda row, x: 13 in x
        desk.create(shard_rows=8)
        desk.drive()
        desk.executors.fails = lambda row, x: False
        desk.scorings.retry_failed(ID)
        desk.fuse.after, desk.fuse.left, desk.fuse.count = after, step, 0
        killed = False
        try:
            desk.drive()
        except Killed:
            killed = True
            if not desk.record().ended:
                go_on(desk)
        one = desk.record()
        assert (one.status, one.failed, one.errors_key) == (ScoringStatus.COMPLETED, 0, ""), step
        assert len(desk.output().splitlines()) == 16, step
        visit(desk)
        assert desk.stored() == ["output.jsonl"], step
        anew(desk)
        if not killed:
            assert step > 15
            break


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_any_step_of_a_cancel(desk: Desk, after: bool) -> None:
    desk.table([[n + 1000, 1] for n in range(60)])
    desk.fuse.after = after
    for step in STEPS:
        desk.create(shard_rows=8)
        canceling = when(desk, len(desk.executors.ran) + 3, lambda: desk.scorings.cancel(ID))
        desk.waits.append(canceling)
        desk.fuse.left, desk.fuse.count = step, 0
        killed = False
        try:
            desk.drive()
        except Killed:
            killed = True
            if not desk.record().ended:
                go_on(desk)
        one = desk.record()
        # Killed late enough it had run to its end before anybody asked.
        assert one.status in (ScoringStatus.CANCELED, ScoringStatus.COMPLETED), step
        assert len(desk.output().splitlines()) == one.done, step
        if not killed:
            assert step > 30
            break
        desk.waits.remove(canceling)
        anew(desk)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_any_step_of_a_second_round(desk: Desk, after: bool) -> None:
    desk.table([[n + 1000, 13 if n % 3 == 0 else 1] for n in range(40)])
    desk.create(shard_rows=8)
    desk.drive()
    first = outcome(desk)
    desk.fuse.after = after
    for step in STEPS:
        desk.scorings.retry_failed(ID)
        desk.fuse.left, desk.fuse.count = step, 0
        killed = False
        try:
            desk.drive()
        except Killed:
            killed = True
            if not desk.record().ended:
                go_on(desk)
        now = outcome(desk)
        # What failed fails again: nothing but the round's number is another.
        assert (now[0], *now[2:]) == (first[0], *first[2:]), step
        if not killed:
            assert step > 20
            break
