"""Who does the farm's chores: one process of all, or each."""

import threading

from storage import keys
from storage.connection import Client
from tasks.ticking import Ticking


class Chore(Ticking):
    def __init__(self, client: Client | None) -> None:
        super().__init__("chore", client)
        self.done = threading.Event()

    def work(self) -> None:
        self.done.set()


def test_chore_without_a_lock_is_done_in_every_process() -> None:
    chores = [Chore(None), Chore(None)]
    for chore in chores:
        chore.start()
    for chore in chores:
        assert chore.done.wait(30)
        chore.stop()


def test_chore_with_a_lock_is_done_by_who_holds_it_and_given_up_at_the_end(store: Client) -> None:
    one, other = Chore(store), Chore(store)
    one.start()
    assert one.done.wait(30)
    assert not other._held()
    one.stop()
    assert not store.exists(keys.lock("chore"))
    assert other._held()
    assert other._held()
