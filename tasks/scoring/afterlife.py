"""What becomes of a scoring's objects after its end: what dead attempts left goes soon, all of it at the expiry."""

import logging

from storage.jobs import Due, JobStore
from storage.objects import Objects
from storage.scoring import Scoring
from storage.scorings import Scorings
from tasks.scoring.shard import Places

log = logging.getLogger(__name__)


class Afterlife:
    """Methods raise StoreUnavailable and ObjectsUnavailable; done twice, they come to the same."""

    def __init__(self, scorings: Scorings, jobs: JobStore, objects: Objects) -> None:
        self._scorings = scorings
        self._jobs = jobs
        self._objects = objects

    def visit(self, due: Due, id: str) -> None:
        """What is due of a scoring that has ended, or was erased."""
        one = self._scorings.get(id)
        now = self._jobs.now_ms()
        if one is None or not one.ended:
            self._jobs.settle(due)
        elif one.erased or one.expires_ms <= now:
            if not one.erased:
                self._scorings.erase(one, reason="expired")
                log.info("scoring erased", extra={"scoring": id})
            self._objects.delete_prefix(Places(one.tenant, id).all)
            self._jobs.settle(due)
        else:
            self._tidy(one)
            self._jobs.put_off(due, by_ms=one.expires_ms - now)

    def _tidy(self, one: Scoring) -> None:
        """Shards that ended after the scoring did may have left something."""
        prefixes = leftovers(Places(one.tenant, one.id), failed=one.failed)
        keys = [key for prefix in prefixes for key in self._objects.keys(prefix)]
        # Its failed rows may be run again by now: what was listed before that is left over all the same.
        if keys and self._scorings.get(one.id) == one:
            for key in keys:
                self._objects.delete(key)


def leftovers(places: Places, *, failed: int) -> list[str]:
    """Prefixes of what an ended scoring needs no more, dead attempts' included.

    Outputs of shards stay where rows may be run again: they are merged once more then.
    """
    return [places.rows] if failed else [places.rows, places.outputs, places.indexes, places.errors]
