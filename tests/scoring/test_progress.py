"""When webhooks hear of a scoring's progress: now and then, whatever number of shards end."""

from pathlib import Path

import msgspec

from storage.connection import Client
from storage.deliveries import Deliveries
from storage.driven import take
from storage.objects import open_objects
from storage.scoring import Part, ScoringStatus, Spec
from storage.scorings import Scorings
from tasks.scoring.index import Index
from tasks.scoring.ledger import BRISK_S, SLOW_S, Ledger
from tasks.scoring.shard import Places, Shard

SPEC = Spec(
    id="scr_1", tenant="acme", model="mlp", version="1", input=(Part("acme/objects/1", "e", 9),), format="parquet",
    output_format="csv", inputs=msgspec.Raw(b"[]"), outputs=msgspec.Raw(b"[]"), max_items=4, created_ms=1,
    webhook_url="https://erp.example/", webhook_events=("scoring.progress",),
)  # fmt: skip


class Clock:
    s = 0.0

    def __call__(self) -> float:
        return self.s


def test_progress_is_told_each_half_minute_or_twentieth(store: Client, tmp_path: Path) -> None:
    scorings, deliveries, clock = Scorings(store), Deliveries(store), Clock()
    scorings.create(SPEC)
    hold = take(scorings)
    assert hold is not None
    hold.note(to=ScoringStatus.VALIDATING)
    hold.note(to=ScoringStatus.RUNNING, fields={"total": 1000})
    index = Index(open_objects(f"file://{tmp_path}"), Places("acme", "scr_1"))
    ledger = Ledger(hold, hold.load(), index, clock=clock)

    def rows(count: int, *, after_s: float) -> int:
        """That many rows are done after so many seconds; how many events there are then."""
        clock.s += after_s
        number = ledger.number
        ledger.add(Shard(number=number, start=ledger.row, end=ledger.row + count, rows=count), row=ledger.row + count)
        done = msgspec.structs.replace(ledger.shards[number], done=True)
        ledger.replace([], [done])
        return len(deliveries.outbox(limit=99))

    assert rows(500, after_s=BRISK_S - 1) == 0
    assert rows(1, after_s=1) == 1
    assert rows(49, after_s=BRISK_S) == 1
    assert rows(1, after_s=0) == 2
    assert rows(1, after_s=SLOW_S - 1) == 2
    assert rows(1, after_s=1) == 3
    assert {entry.event for entry in deliveries.outbox(limit=9)} == {"scoring.progress"}
