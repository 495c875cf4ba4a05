"""`penstock requeue --stuck`: what the reaper does by and by, at once and as a whole."""

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
from kombu.exceptions import KombuError

from errors import BrokerUnavailable
from settings import Settings
from storage.connection import connect
from storage.jobs import JobStore
from storage.workers import Workers
from tasks.publisher import Publisher
from tasks.reaper import Reaper


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What was published, or would be."""

    dry_run: bool
    #: Lanes to jobs that were queued by their record and in no queue.
    queues: dict[str, int]
    #: Jobs that were running on workers that are gone.
    orphans: int


def requeue(settings: Settings, *, dry_run: bool) -> Done:
    """Raises StoreUnavailable or BrokerUnavailable."""
    client = connect(settings.store_url)
    jobs = JobStore(client)
    publisher = Publisher(settings.queue_url, deadline_s=settings.submit_deadline_s, queues=lambda: ())
    reaper = Reaper(jobs, publisher, settings.queue_url, Workers(client))
    try:
        with broker_errors():
            queues = {
                lane.queue: jobs.count_overdue(lane.queue, since_ms=lane.until_ms) if dry_run else reaper.publish(lane)
                for lane in reaper.lanes()
            }
            orphans = sum(len(held) if dry_run else reaper.revive(held) for held in reaper.sweep())
    finally:
        publisher.close()
        client.close()
    return Done(dry_run=dry_run, queues={name: count for name, count in queues.items() if count}, orphans=orphans)


@contextmanager
def broker_errors() -> Iterator[None]:
    try:
        yield
    except (OSError, KombuError) as error:
        raise BrokerUnavailable(f"no connection to the broker: {error}") from error
