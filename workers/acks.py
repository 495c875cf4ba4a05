"""Which deliveries of one channel are settled: the pure bookkeeping behind cumulative acknowledgement."""

from itertools import takewhile
from typing import NamedTuple


class Flush(NamedTuple):
    #: Acknowledge everything up to this tag at once, or None.
    up_to: int | None
    #: Acknowledge these one by one: something older is still being worked on.
    singles: list[int]


class Ledger:
    """Tags of one channel in the order they came; AMQP delivery tags rise by one from 1."""

    def __init__(self) -> None:
        self._open: dict[int, None] = {}
        self._settled: set[int] = set()

    def deliver(self, tag: int) -> None:
        self._open[tag] = None

    def settle(self, *tags: int) -> None:
        """Note that the tags' work is done; unknown ones (of an older channel) are ignored."""
        self._settled.update(tag for tag in tags if tag in self._open)

    def forget(self, tag: int) -> None:
        """The tag was rejected; it needs no acknowledgement."""
        self._open.pop(tag, None)
        self._settled.discard(tag)

    def flush(self) -> Flush:
        """What to acknowledge now; afterwards it counts as acknowledged.

        A cumulative ack also covers what was acked singly before (RabbitMQ ignores those), so one frame
        serves the whole settled front.
        """
        front = list(takewhile(self._settled.__contains__, self._open))
        singles = sorted(self._settled.difference(front))
        for tag in self._settled:
            del self._open[tag]
        self._settled.clear()
        return Flush(front[-1] if front else None, singles)

    def __len__(self) -> int:
        return len(self._open)
