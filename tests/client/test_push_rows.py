"""A run of rows goes on whatever is lost on the way."""

from collections import Counter
from collections.abc import Iterable
from typing import cast

import pytest
from penstock import push_rows
from penstock.errors import PenstockError
from penstock.push_link import Link
from penstock.push_message import Address, Envelope, Outgoing, Shard, rows_of, shards
from penstock.push_results import End
from penstock.push_rows import Run


class Farm:
    """Publishes and answers; what was lost the first time is answered the second."""

    def __init__(self, lost: set[str]) -> None:
        self.pushed: Counter[str] = Counter()
        self._lost = lost
        self._answers: list[End] = []

    def put(self, message: Outgoing) -> None:
        self.pushed[message.id] += 1
        if self.pushed[message.id] > 1 or message.id not in self._lost:
            self._answers.append(End(message.id, {"y": [message.id]}))

    def refused(self) -> dict[str, PenstockError]:
        return {}

    def expect(self, ids: Iterable[str]) -> None:
        pass

    def take(self, wait_s: float) -> list[End]:
        answers, self._answers = self._answers, []
        return answers

    def close(self) -> None:
        pass


def cut() -> list[Shard]:
    rows = rows_of([{"x": number} for number in range(12)])
    return list(shards(rows, run="run", most_rows=1, most_bytes=1000))


def test_rows_that_nobody_knows_of_any_more_are_pushed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push_rows, "AGAIN_S", 0.0)
    ids = [shard.id for shard in cut()]
    farm, envelope = Farm({ids[3], ids[9]}), Envelope(Address(model="echo", version="1"))
    run = Run(cast(Link, farm), farm, envelope, iter(cut()), ahead=4, fetch=lambda id: {}, progress=None)
    assert [row.outputs for row in run] == [{"y": id} for id in ids]
    assert set(farm.pushed) == set(ids)
    assert min(farm.pushed[ids[3]], farm.pushed[ids[9]]) >= 2
