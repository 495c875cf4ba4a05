"""What a worker holds of one model: every delivery from its arrival until it is settled or let go."""

import threading
from collections.abc import Iterable

from workers.lane import Delivery, Lane
from workers.replying import Replies


class Hands:
    """Deliveries by their job, so that a job whose message comes again is not run beside itself. Thread-safe."""

    def __init__(self, replies: Replies | None = None) -> None:
        """`replies`: tells senders of their jobs' ends; None: nobody is told."""
        self._replies = replies
        self._held: dict[str, Delivery] = {}
        #: Jobs that a stop left without an outcome; their messages go back.
        self.left: list[Delivery] = []
        self._guard = threading.Lock()

    def take_in(self, delivery: Delivery) -> bool:
        """Note a delivery; False where its job is here already, and only the connection was lost: it joins that one."""
        with self._guard:
            held = self._held.setdefault(delivery.message.id, delivery)
            if held is delivery or held.lane.alive:
                return True
            held.lane, held.tag = delivery.lane, delivery.tag
            return False

    def settle(self, deliveries: Iterable[Delivery]) -> None:
        """Their outcomes are stored: their messages may go, once whoever asked to be told of the end has been told."""
        found = list(deliveries)
        owed = [delivery for delivery in found if delivery.reply] if self._replies else []
        if self._replies and owed:
            self._replies.send(owed, self._settle)
        self._settle([delivery for delivery in found if not delivery.reply] if owed else found)

    def _settle(self, deliveries: Iterable[Delivery]) -> None:
        lanes: dict[Lane, list[object]] = {}
        with self._guard:
            for delivery in deliveries:
                self._forget(delivery)
                lanes.setdefault(delivery.lane, []).append(delivery.tag)
        for lane, tags in lanes.items():
            lane.settle(*tags)

    def let_go(self, deliveries: Iterable[Delivery]) -> None:
        """They are not ours any more: the broker delivers them again."""
        with self._guard:
            for delivery in deliveries:
                self._forget(delivery)

    def leave(self, deliveries: Iterable[Delivery]) -> None:
        """The worker stops before they have an outcome."""
        with self._guard:
            self.left.extend(deliveries)

    def __len__(self) -> int:
        return len(self._held)

    def _forget(self, delivery: Delivery) -> None:
        if self._held.get(delivery.message.id) is delivery:
            del self._held[delivery.message.id]
