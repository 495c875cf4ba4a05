"""Uploads that scorings read: an upload whose time is over stays while one may still need its rows.

Each upload has a set of the scorings that were accepted with it. Whoever is to erase it asks what has become of them
(`needed`), so that nothing has to be taken back where a process dies between a pin and what it was for.
"""

from collections.abc import Callable, Iterable

from storage import keys
from storage.clock import wall_ms
from storage.connection import Client, store_errors
from storage.scoring import Scoring

#: For so long a pin holds whose scoring is not there yet, milliseconds: far longer than accepting one may take.
ACCEPTING_MS = 60_000


class Pins:
    """Methods raise StoreUnavailable when Redis does not answer."""

    def __init__(
        self, client: Client, scoring: Callable[[str], Scoring | None], *, now_ms: Callable[[], int] = wall_ms
    ) -> None:
        """`scoring` finds one by its id."""
        self._client = client
        self._scoring = scoring
        self._now_ms = now_ms

    def hold(self, scoring: str, objects: Iterable[str]) -> None:
        """Keep the objects with these keys for a scoring that is about to be accepted."""
        now = self._now_ms()
        with store_errors():
            self._client.execute_all([("ZADD", keys.pins(key), now, scoring) for key in objects])

    def release(self, scoring: str, objects: Iterable[str]) -> None:
        """Keep them no longer: it was not accepted."""
        with store_errors():
            self._client.execute_all([("ZREM", keys.pins(key), scoring) for key in objects])

    def needed(self, key: str) -> bool:
        """Whether a scoring may still read the object; forgets those that no longer do."""
        with store_errors():
            held = self._client.zrange(keys.pins(key), 0, -1, withscores=True)
        for id, at_ms in held:
            if self._needs(id.decode(), int(at_ms)):
                return True
            with store_errors():
                self._client.zrem(keys.pins(key), id)
        return False

    def _needs(self, id: str, at_ms: int) -> bool:
        found = self._scoring(id)
        if found is None:
            return self._now_ms() - at_ms < ACCEPTING_MS
        if not found.ended:
            return True
        # Failed rows can be run again for as long as it is known which they are.
        return bool(found.failed and not found.erased and self._now_ms() < found.expires_ms)
