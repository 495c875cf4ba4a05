"""Tells the store which submissions the broker has confirmed, for whoever waits with the same Idempotency-Key.

In the background, many in one round trip: the client that was first need not wait for it. A process that dies
before has only made the other one wait longer, and publish once more.
"""

import logging

from errors import StoreUnavailable
from gateway.grouping import Grouped
from storage.jobs import JobStore

log = logging.getLogger(__name__)

#: Told in one round trip.
GROUP = 1000


def confirmations(jobs: JobStore) -> Grouped[str]:
    def tell(ids: list[str]) -> None:
        try:
            jobs.confirm(*ids)
        except StoreUnavailable as error:
            log.warning("confirmations lost", extra={"jobs": len(ids), "reason": error.detail})

    return Grouped("confirmations", tell, most=GROUP)
