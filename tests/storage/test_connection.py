"""What a store that cannot write for the moment is to its callers."""

from collections.abc import Iterator

import pytest

from errors import PenstockError, StoreUnavailable
from storage.connection import Client, store_errors
from storage.jobs import JobStore
from storage.refused import Refused


@pytest.fixture
def unwritable(store: Client) -> Iterator[Client]:
    """Refuses every write, as with a full disk, until its settings change."""
    store.config_set("min-replicas-to-write", 1)
    yield store
    store.config_set("min-replicas-to-write", 0)


def test_single_command_finds_the_store_unavailable(unwritable: Client) -> None:
    with pytest.raises(StoreUnavailable, match="cannot write now"):
        JobStore(unwritable).schedule("erase:a", at_ms=1)


def test_command_in_a_pipeline_does_as_well(unwritable: Client) -> None:
    with pytest.raises(StoreUnavailable, match="cannot write now"):
        Refused(unwritable).note(b"?", queue="q", reason="no job")


def test_mistake_of_ours_is_not_taken_for_a_store_that_is_away(store: Client) -> None:
    store.set("text", "a")
    with pytest.raises(PenstockError) as raised, store_errors():
        store.pipeline(transaction=False).hset("text", "field", "1").execute()
    assert not isinstance(raised.value, StoreUnavailable)
