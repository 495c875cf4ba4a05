"""What webhooks tell of scorings: how far they are, and each end of theirs."""

import msgspec
import pytest

from storage import keys
from storage.connection import Client
from storage.driven import Hold, take
from storage.pins import ACCEPTING_MS, Pins
from storage.scoring import Part, ScoringStatus, Spec
from tasks.webhooks.body import BODY_BYTES
from tests.tasks.hooks import BASE, URL, Hooks

EVENTS = ("scoring.progress", "scoring.completed")


@pytest.fixture
def hooks(store: Client) -> Hooks:
    return Hooks(store)


def start(hooks: Hooks, id: str = "scr_1", *, events: tuple[str, ...] = EVENTS, **fields: object) -> Hold:
    """Accept a scoring and drive it until it runs."""
    made = Spec(
        id=id, tenant="acme", model="mlp", version="1", input=(Part("acme/objects/obj_1", "e", 9),), format="jsonl",
        output_format="csv", inputs=msgspec.Raw(b"[]"), outputs=msgspec.Raw(b"[]"), max_items=4,
        created_ms=hooks.clock.ms, webhook_url=URL if events else "", webhook_events=events,
    )  # fmt: skip
    hooks.scorings.create(msgspec.structs.replace(made, **fields))
    hold = take(hooks.scorings)
    assert hold is not None
    hold.note(to=ScoringStatus.VALIDATING)
    hold.note(to=ScoringStatus.RUNNING, fields={"total": 100})
    return hold


def end(hold: Hold, status: ScoringStatus = ScoringStatus.COMPLETED, **fields: int) -> None:
    hold.note(to=ScoringStatus.MERGING, fields={"done": 100} | fields)
    hold.note(to=status)


def test_progress_and_end_are_told_to_the_scorings_own_url(hooks: Hooks) -> None:
    hold = start(hooks, metadata={"night": 7})
    hold.note(fields={"done": 40, "failed": 2}, event="scoring.progress")
    hooks.work()
    hooks.clock.ms += 1000
    end(hold, failed=2)
    hooks.work()
    progress, completed = hooks.sent
    assert (progress.url, progress.json["type"], completed.json["type"]) == (URL, *EVENTS)
    assert progress.json["data"]["rows"] == {"total": 100, "done": 40, "failed": 2}
    told = completed.json["data"]
    assert (told["id"], told["object"], told["status"], told["metadata"]) == (
        "scr_1", "scoring", "completed", {"night": 7},
    )  # fmt: skip
    assert told["urls"]["self"] == BASE + "/v1/scorings/scr_1"
    listed = hooks.deliveries.of("scoring:scr_1")
    assert [(one.event, one.state, one.job) for one in listed] == [(event, "delivered", "scr_1") for event in EVENTS]


def test_only_what_was_asked_for_is_told(hooks: Hooks) -> None:
    hold = start(hooks, events=("scoring.completed",))
    hold.note(fields={"done": 40}, event="scoring.progress")
    hooks.endpoints.create("acme", "https://one.example", events=["job.completed"])
    hooks.endpoints.create("umbra", "https://two.example", events=["scoring.completed"])
    end(hold)
    hooks.work()
    assert [one.json["type"] for one in hooks.sent] == ["scoring.completed"]
    quiet = start(hooks, "scr_2", events=())
    end(quiet)
    hooks.work()
    assert len(hooks.sent) == 1
    assert not hooks.store.exists(keys.OUTBOX)


def test_endpoints_hear_of_scorings_they_subscribed_to(hooks: Hooks) -> None:
    hooks.endpoints.create("acme", "https://one.example", events=["scoring.completed"])
    end(start(hooks, events=()), ScoringStatus.FAILED)
    hooks.work()
    assert [(one.url, one.json["data"]["status"]) for one in hooks.sent] == [("https://one.example", "failed")]


def test_cancel_is_an_end_that_is_told(hooks: Hooks) -> None:
    hold = start(hooks)
    hooks.scorings.cancel("scr_1")
    hold.note(to=ScoringStatus.CANCELED)
    hooks.work()
    assert [one.json["data"]["status"] for one in hooks.sent] == ["canceled"]


def test_each_end_is_told_as_it_was_although_it_ran_again(hooks: Hooks) -> None:
    end(start(hooks), failed=3)
    # The client is faster than the relay.
    hooks.scorings.retry_failed("scr_1")
    hooks.work()
    (first,) = hooks.sent
    told = first.json["data"]
    assert (told["status"], told["round"], told["rows"]["failed"]) == ("completed", 1, 3)
    assert not hooks.store.exists(keys.scoring_end("scr_1", 1))
    hold = take(hooks.scorings)
    assert hold is not None
    hold.note(to=ScoringStatus.VALIDATING)
    hold.note(to=ScoringStatus.RUNNING)
    end(hold, failed=0)
    hooks.work()
    second = hooks.sent[1]
    assert (second.json["data"]["round"], second.id != first.id) == (2, True)


def test_event_expanded_twice_is_sent_once(hooks: Hooks) -> None:
    end(start(hooks))
    (entry,) = hooks.deliveries.outbox(limit=9)
    hooks.expander.expand(entry)
    hooks.expander.expand(entry)
    hooks.work()
    assert len(hooks.sent) == 1


def test_long_metadata_and_many_objects_stay_below_the_limit(hooks: Hooks) -> None:
    parts = tuple(Part(f"acme/objects/{'o' * 200}{number}", "e", 9) for number in range(300))
    end(start(hooks, metadata={"a": "m" * 16_000}, input=parts))
    hooks.work()
    (sent,) = hooks.sent
    assert len(sent.body) < BODY_BYTES
    assert (sent.json["data"]["metadata"], sent.json["data"]["input"]["parts"]) == ({}, 300)


def test_job_with_a_scorings_id_shares_nothing_with_it(hooks: Hooks) -> None:
    end(start(hooks))
    hooks.submit("scr_1")
    hooks.finish("scr_1")
    hooks.work()
    assert [one.event for one in hooks.deliveries.of("scr_1")] == ["job.completed"]
    assert [one.event for one in hooks.deliveries.of("scoring:scr_1")] == ["scoring.completed"]


def test_upload_is_needed_until_its_scorings_have_ended(hooks: Hooks) -> None:
    pins = Pins(hooks.store, hooks.scorings.get, now_ms=hooks.clock)
    key = "acme/objects/obj_1"
    assert not pins.needed(key)
    pins.hold("scr_1", [key])
    pins.hold("scr_gone", [key])
    hold = start(hooks)
    hooks.clock.ms += ACCEPTING_MS + 1
    assert pins.needed(key)
    end(hold, failed=1)
    # Its failed rows may be run again.
    assert pins.needed(key)
    hooks.clock.ms += 8 * 86_400_000
    assert not pins.needed(key)
    assert not hooks.store.exists(keys.pins(key))


def test_upload_is_kept_while_its_scoring_is_being_accepted(hooks: Hooks) -> None:
    pins = Pins(hooks.store, hooks.scorings.get, now_ms=hooks.clock)
    pins.hold("scr_1", ["acme/objects/obj_1"])
    assert pins.needed("acme/objects/obj_1")
    pins.release("scr_1", ["acme/objects/obj_1"])
    assert not pins.needed("acme/objects/obj_1")
