"""An orchestrator drives so many scorings at once, and goes from one to the next."""

import threading
from typing import ClassVar

import pytest

from storage.driven import Hold, take
from storage.scoring import ScoringStatus
from storage.scorings import Scorings
from tasks.scoring import dispatching, driving
from tasks.scoring.dispatching import MOST, MOST_OF_ONE, Seats
from tests.scoring.desk import Desk


class Slow:
    """Stands for a driver: it drives until it is let go."""

    driven: ClassVar[list[str]] = []
    begun = threading.Semaphore(0)
    go = threading.Event()

    def __init__(self, hold: Hold, parts: object, stop: threading.Event) -> None:
        self.driven.append(hold.id)
        self._hold = hold

    def drive(self) -> None:
        self.begun.release()
        assert self.go.wait(10)
        self._hold.note(to=ScoringStatus.FAILED)


@pytest.fixture
def seats(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Seats:
    monkeypatch.setattr(driving, "Driver", Slow)
    Slow.driven, Slow.begun, Slow.go = [], threading.Semaphore(0), threading.Event()
    desk.table([[1, 1]])
    for number in range(MOST + 2):
        desk.create(id=f"scr_{number}", tenant=("acme", "beta")[number % 2])
    return Seats(desk.parts())


def test_no_more_than_so_many_run_and_the_others_follow(seats: Seats) -> None:
    threads = [threading.Thread(target=seats.drive) for _ in range(MOST)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert Slow.begun.acquire(timeout=10)
    assert seats.drive() == 0
    Slow.go.set()
    for thread in threads:
        thread.join()
    assert sorted(Slow.driven) == sorted(f"scr_{number}" for number in range(MOST + 2))


def test_tenant_whose_scorings_wait_for_long_leaves_seats_to_others(seats: Seats, desk: Desk) -> None:
    for number in range(1, MOST + 2, 2):
        desk.scorings.cancel(f"scr_{number}")
    threads = [threading.Thread(target=seats.drive) for _ in range(MOST_OF_ONE)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert Slow.begun.acquire(timeout=10)
    assert seats.drive() == 0
    desk.create(id="scr_beta", tenant="beta")
    other = threading.Thread(target=seats.drive)
    other.start()
    assert Slow.begun.acquire(timeout=10)
    assert Slow.driven[-1] == "scr_beta"
    Slow.go.set()
    for thread in [*threads, other]:
        thread.join()


def test_process_that_is_to_end_takes_no_other(seats: Seats) -> None:
    seats.stop.set()
    assert (seats.drive(), Slow.driven) == (0, [])


def test_task_is_published_for_each_that_nobody_drives(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []

    class Post:
        def __init__(self, app: object, *, queue: str) -> None:
            assert queue == "q"

        def send_all(self, tasks: list[tuple[str, tuple[str, ...]]], *, stale_s: int) -> None:
            sent.append(len(tasks))

    monkeypatch.setattr(dispatching, "Post", Post)
    scorings: Scorings = desk.scorings
    dispatcher = dispatching.Dispatcher(None, scorings, queue="q")
    dispatcher.work()
    desk.table([[1, 1]])
    for number in range(MOST + 2):
        desk.create(id=f"scr_{number}")
    dispatcher.work()
    # Not again within a second.
    dispatcher.work()
    while take(scorings):
        pass
    monkeypatch.setattr(dispatching, "AGAIN_S", 0.0)
    dispatcher.work()
    assert sent == [MOST]
