"""Records of offline runs: made once, canceled, driven by one at a time, run again over failed rows, erased."""

import msgspec
import pytest

from errors import AlreadyTerminal, NotFound, NotReady, QuotaExceeded
from storage import keys
from storage.connection import Client
from storage.driven import FOLDED, LEASE_MS, SHARDS, Hold, LeaseLost, take, wanting
from storage.scoring import Estimate, Part, Scoring, ScoringStatus, Spec
from storage.scorings import Scorings


class Clock:
    ms = 1_000_000

    def __call__(self) -> int:
        return self.ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def scorings(store: Client, clock: Clock) -> Scorings:
    return Scorings(store, now_ms=clock)


def spec(id: str = "scr_1", *, tenant: str = "acme", **more: object) -> Spec:
    made = Spec(
        id=id, tenant=tenant, model="mlp", version="1", input=(Part("acme/uploads/1", "e1", 9),), format="jsonl",
        output_format="jsonl", inputs=msgspec.Raw(b'[{"name":"x"}]'), outputs=msgspec.Raw(b"[]"), max_items=4,
        created_ms=1_000_000, result_ttl_s=60,
    )  # fmt: skip
    return msgspec.structs.replace(made, **more)


def record(scorings: Scorings, id: str = "scr_1") -> Scoring:
    one = scorings.get(id)
    assert one is not None
    return one


def taken(scorings: Scorings) -> Hold:
    hold = take(scorings)
    assert hold is not None
    return hold


def end(hold: Hold, status: ScoringStatus = ScoringStatus.COMPLETED, **fields: int) -> ScoringStatus:
    hold.note(to=ScoringStatus.VALIDATING)
    hold.note(to=ScoringStatus.RUNNING)
    hold.note(to=ScoringStatus.MERGING)
    return hold.note(to=status, fields=fields)


def test_request_is_read_back_as_it_was_made(scorings: Scorings) -> None:
    asked = spec(mapping={"x": ("a", "b")}, parameters={"k": 3}, webhook_url="https://a.example/", keep=("c",))
    assert scorings.create(asked) == ("created", "scr_1")
    one = record(scorings)
    assert one == Scoring(spec=asked, status=ScoringStatus.QUEUED)
    assert scorings.get("scr_2") is None


def test_same_key_gives_the_same_scoring_and_another_body_a_mismatch(scorings: Scorings) -> None:
    assert scorings.create(spec(), idempotency_key="k", body="d1").verdict == "created"
    assert scorings.create(spec("scr_2"), idempotency_key="k", body="d1") == ("same", "scr_1")
    assert scorings.create(spec("scr_2"), idempotency_key="k", body="d2") == ("mismatch", "scr_1")
    assert scorings.create(spec("scr_3", tenant="beta"), idempotency_key="k", body="d2").verdict == "created"
    assert scorings.create(spec()).verdict == "exists"
    assert scorings.get("scr_2") is None


def test_listing_is_newest_first_by_pages_and_filters(scorings: Scorings) -> None:
    for number in range(250):
        scorings.create(spec(f"scr_{number:03}", model="mlp" if number % 2 else "other"))
    scorings.create(spec("scr_999", tenant="beta"))
    scorings.cancel("scr_003")
    first = scorings.list("acme", limit=2)
    assert ([one.id for one in first.scorings], first.cursor) == (["scr_249", "scr_248"], "scr_248")
    rest = scorings.list("acme", limit=300, before=first.cursor)
    assert (len(rest.scorings), rest.cursor) == (248, "")
    found = scorings.list("acme", limit=9, status=ScoringStatus.CANCELED, model="mlp")
    assert ([one.id for one in found.scorings], found.cursor) == (["scr_003"], "")


def test_cancel_ends_at_once_what_nobody_drives(scorings: Scorings) -> None:
    scorings.create(spec())
    assert scorings.cancel("scr_1") is ScoringStatus.CANCELED
    one = record(scorings)
    assert (one.status, one.ended_ms, one.expires_ms) == (ScoringStatus.CANCELED, 1_000_000, 1_060_000)
    assert take(scorings) is None
    assert scorings.cancel("scr_1") is ScoringStatus.CANCELED
    with pytest.raises(NotFound):
        scorings.cancel("scr_2")


def test_cancel_of_one_that_is_driven_is_left_to_its_driver(scorings: Scorings) -> None:
    scorings.create(spec())
    hold = taken(scorings)
    hold.note(to=ScoringStatus.VALIDATING)
    assert scorings.cancel("scr_1") is ScoringStatus.CANCELING
    # The driver did not know yet: its move is none, and what came with it is not noted.
    assert hold.note(to=ScoringStatus.RUNNING, fields={"total": 7}) is ScoringStatus.CANCELING
    assert record(scorings).total == -1
    assert hold.note(to=ScoringStatus.CANCELED) is ScoringStatus.CANCELED
    assert wanting(scorings) == 0


def test_driver_that_was_taken_over_can_note_nothing(scorings: Scorings, clock: Clock) -> None:
    scorings.create(spec())
    first = taken(scorings)
    assert take(scorings) is None
    clock.ms += LEASE_MS
    assert wanting(scorings) == 1
    second = taken(scorings)
    assert (first.epoch, second.epoch) == (1, 2)
    with pytest.raises(LeaseLost):
        first.note(fields={"done": 1})
    with pytest.raises(LeaseLost):
        first.load()
    second.note(fields={"done": 2}, commands=[("HSET", SHARDS, 0, b"s"), ("RPUSH", FOLDED, b"f")])
    state = second.load()
    assert (state.scoring.done, state.shards, state.folded) == (2, {0: b"s"}, [b"f"])


def test_note_renews_the_lease_and_release_gives_it_back(scorings: Scorings, clock: Clock) -> None:
    scorings.create(spec())
    hold = taken(scorings)
    clock.ms += LEASE_MS - 1
    hold.note()
    clock.ms += LEASE_MS - 1
    assert take(scorings) is None
    hold.release()
    assert taken(scorings).epoch == 2


def test_tenants_are_served_in_turn(scorings: Scorings) -> None:
    for number in range(4):
        scorings.create(spec(f"scr_a{number}", tenant="acme"))
    scorings.create(spec("scr_b0", tenant="beta"))
    scorings.create(spec("scr_c0", tenant="a"))
    assert sorted(taken(scorings).id for _ in range(3)) == ["scr_a0", "scr_b0", "scr_c0"]
    assert [taken(scorings).id for _ in range(2)] == ["scr_a1", "scr_a2"]


def test_no_more_of_a_tenant_are_driven_at_once_than_may_be(scorings: Scorings, clock: Clock) -> None:
    for number in range(3):
        scorings.create(spec(f"scr_a{number}", tenant="acme"))
    for _ in range(2):
        assert take(scorings, most=2) is not None
    assert take(scorings, most=2) is None
    scorings.create(spec("scr_b0", tenant="beta"))
    other = take(scorings, most=2)
    assert other is not None
    assert other.id == "scr_b0"
    # One that lost its driver is no further one.
    clock.ms += LEASE_MS
    assert sorted(taken(scorings).id for _ in range(3)) == ["scr_a0", "scr_a1", "scr_b0"]


def test_what_lost_its_driver_goes_on_before_anything_new(scorings: Scorings, clock: Clock) -> None:
    scorings.create(spec("scr_2"))
    assert taken(scorings).id == "scr_2"
    scorings.create(spec("scr_1", tenant="beta"))
    clock.ms += LEASE_MS
    assert [taken(scorings).id for _ in range(2)] == ["scr_2", "scr_1"]


def test_failed_rows_wait_to_be_run_again(scorings: Scorings, store: Client) -> None:
    scorings.create(spec())
    hold = taken(scorings)
    with pytest.raises(NotReady, match="queued"):
        scorings.retry_failed("scr_1")
    end(hold, total=5, done=5, failed=2)
    assert [scorings.retry_failed("scr_1") for _ in range(2)] == [ScoringStatus.QUEUED] * 2
    one = record(scorings)
    assert (one.round, one.status, one.ended_ms, one.expires_ms, one.failed) == (2, ScoringStatus.QUEUED, 0, 0, 2)
    assert store.zscore(keys.DUE, "scoring:scr_1") is None
    assert end(taken(scorings), total=5, done=5, failed=0) is ScoringStatus.COMPLETED
    with pytest.raises(AlreadyTerminal, match="no row"):
        scorings.retry_failed("scr_1")
    with pytest.raises(NotFound):
        scorings.retry_failed("scr_9")


def test_failed_rows_of_a_tenant_with_too_many_scorings_wait(scorings: Scorings) -> None:
    scorings.create(spec())
    end(taken(scorings), total=5, done=5, failed=2)
    scorings.create(spec("scr_2"))
    taken(scorings)
    scorings.create(spec("scr_3"))
    scorings.create(spec("scr_4", tenant="beta"))
    with pytest.raises(QuotaExceeded, match="2 scorings that have not ended"):
        scorings.retry_failed("scr_1", most=2)
    assert record(scorings).status is ScoringStatus.COMPLETED
    assert scorings.retry_failed("scr_1", most=3) is ScoringStatus.QUEUED


def test_erased_one_leaves_a_tombstone_without_what_was_asked(scorings: Scorings, store: Client) -> None:
    scorings.create(spec(metadata={"secret": 1}))
    end(taken(scorings), total=1, done=1)
    assert scorings.erase(record(scorings), reason="expired") == "kept"
    assert scorings.erase(record(scorings)) == "erased"
    one = record(scorings)
    assert (one.erased, one.spec.metadata, one.spec.input, one.tenant) == ("deleted", {}, (), "acme")
    assert scorings.list("acme", limit=9).scorings == []
    assert store.zscore(keys.DUE, "scoring:scr_1") == 1_000_000
    assert 0 < store.ttl(keys.scoring("scr_1")) <= 604_800
    with pytest.raises(NotFound):
        scorings.cancel("scr_1")


def test_erasing_one_that_is_driven_cancels_it_and_its_end_entombs_it(scorings: Scorings, store: Client) -> None:
    scorings.create(spec(metadata={"secret": 1}))
    hold = taken(scorings)
    hold.note(to=ScoringStatus.VALIDATING, fields={"estimate": msgspec.json.encode(Estimate(1, 1, 1, None))})
    scorings.erase(record(scorings))
    assert hold.load().scoring.status is ScoringStatus.CANCELING
    assert hold.note(to=ScoringStatus.CANCELED) is ScoringStatus.CANCELED
    one = record(scorings)
    assert (one.erased, one.spec.metadata, one.estimate) == ("deleted", {}, None)
    assert (wanting(scorings), store.zscore(keys.DUE, "scoring:scr_1")) == (0, 1_000_000)
