"""A driver that is killed at any step: whoever goes on loses no row, doubles none, and writes the same bytes."""

import pytest

from storage.scoring import ScoringStatus
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
