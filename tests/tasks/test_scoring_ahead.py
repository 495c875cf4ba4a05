"""Rows files made ahead: in order, a few at a time, and what goes wrong goes up."""

import threading
from collections.abc import Iterator

import pyarrow as pa
import pytest

from errors import InputChanged, ObjectsUnavailable
from tasks.scoring.ahead import DEPTH, Ahead, Ready
from tasks.scoring.cutting import Cut


def cut(number: int) -> Cut:
    return Cut(number * 10, number * 10 + 10, pa.table({"row": [number]}), [])


def test_shards_come_in_their_order_however_long_each_takes_to_store() -> None:
    second = threading.Event()

    def store(one: Cut) -> str:
        if one.start == 0:
            assert second.wait(10)
        else:
            second.set()
        return f"key {one.start}"

    ahead = Ahead(iter(map(cut, range(50))), store)
    try:
        assert [(ready.start, ready.rows_key) for ready in ahead] == [(n * 10, f"key {n * 10}") for n in range(50)]
    finally:
        ahead.close()


def test_no_more_than_a_few_are_read_before_they_are_asked_for() -> None:
    read: list[int] = []

    def cuts() -> Iterator[Cut]:
        for number in range(100):
            read.append(number)
            yield cut(number)

    ahead = Ahead(cuts(), lambda one: "key")
    next(ahead)
    ahead.close()
    assert len(read) <= DEPTH + 1


def test_rows_that_wait_in_the_store_are_not_held_in_memory() -> None:
    ahead = Ahead(iter([cut(3)]), lambda one: "key")
    try:
        assert list(ahead) == [Ready(30, 40, 1, [], "key")]
    finally:
        ahead.close()


def test_rows_that_have_all_failed_already_are_not_stored() -> None:
    ahead = Ahead(iter([Cut(0, 10, None, []), cut(1)]), lambda one: f"key {one.start}")
    try:
        assert [ready.rows_key for ready in ahead] == ["", "key 10"]
    finally:
        ahead.close()


def test_trouble_with_the_input_and_with_the_store_goes_up() -> None:
    def cuts() -> Iterator[Cut]:
        yield cut(0)
        raise InputChanged("it is another file now")

    def away(one: Cut) -> str:
        raise ObjectsUnavailable("away")

    for store, error in ((lambda one: "key", InputChanged), (away, ObjectsUnavailable)):
        ahead = Ahead(cuts(), store)
        with pytest.raises(error):
            list(ahead)
        ahead.close()
