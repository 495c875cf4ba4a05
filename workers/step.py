"""The bootstep: the lanes of a worker, on the connection that Celery's worker keeps alive.

Everything here runs on the thread of Celery's event loop; other threads come in by `hub.call_soon`.
"""

import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from celery import bootsteps
from celery.worker import state as celery_state

from errors import PenstockError
from tasks import topology
from tasks.signing import Signing
from workers.lane import Delivery, Lane
from workers.pool import Pool
from workers.refusing import Bad, Refusals
from workers.serving import Serving, open_lanes

log = logging.getLogger(__name__)

#: Between renewals of what is held on the embedded store, seconds; well below its visibility timeout.
RENEW_S = 3.0
#: A lane without a shard for so long holds as many messages as before, seconds.
CALM_S = 30.0


class Lanes:
    """The open lanes of one pool; opened when a model is ready, and again with each new connection."""

    def __init__(self, pool: Pool, refusals: Refusals, signing: Signing | None = None) -> None:
        self._pool = pool
        self._signing = signing
        self._refusals = refusals
        self._connection: Any = None
        self._hub: Any = None
        self._lanes: dict[Serving, list[Lane]] = {}
        self._flush_asked = threading.Event()
        self._started = self._ended = False
        self._renewal: Any = None
        pool.on_added = lambda serving: self._soon(self._declare, serving)
        pool.on_retire = lambda serving: self._soon(self._retire, serving)
        pool.on_ready = lambda serving: self._soon(self._open_later, serving)
        pool.on_failed = lambda serving: self._soon(self._close, serving)
        pool.flush = self._ask_flush

    def connected(self, connection: Any, hub: Any) -> None:
        self._connection = connection
        # Kept, as kombu's get_event_loop() forgets it once a connection was lost.
        self._hub = hub
        # What was asked of the event loop before it lost its connection was forgotten with it.
        self._flush_asked.clear()
        topology.declare(connection, [queue for serving in self._pool.servings for queue in serving.queues])
        topology.declare_replies(connection)
        if not self._started:
            self._started = True
            self._pool.start()
        for serving in self._pool.servings:
            if serving.ready:
                self._open(serving)
        if not topology.is_amqp(connection):
            self._renewal = hub.call_repeatedly(RENEW_S, self._renew)

    def disconnected(self) -> None:
        """The connection is lost: its channels and tags are void."""
        for lane in self._all():
            lane.close()
        self._lanes.clear()
        self._connection = None
        if self._renewal is not None:
            self._renewal.cancel()
        for serving in self._pool.servings:
            serving.forget_dead_lanes()

    def shutdown(self, keep_alive: Callable[[], None]) -> None:
        """The worker ends: stop taking, finish what runs, give the rest back. Celery asks more than once."""
        if self._ended:
            return
        self._ended = True
        self._pool.flush = lambda: None
        self._last_word(lambda: self._each(Lane.cancel))
        waiting = self._pool.stop_taking()
        log.info("worker stops: no new batch", extra={"giving_back": len(waiting)})
        self._last_word(lambda: self._give_back(waiting))

        def meanwhile() -> None:
            self._each(Lane.flush)
            keep_alive()

        unfinished = self._pool.finish_batches(lambda: self._last_word(meanwhile))
        self._last_word(lambda: self._each(Lane.flush))
        self._last_word(lambda: self._give_back(unfinished))
        self._pool.close()
        log.info("worker stopped", extra={"given_back": len(waiting) + len(unfinished)})

    def _declare(self, serving: Serving) -> None:
        if self._connection is not None:
            topology.declare(self._connection, serving.queues)

    def _open_later(self, serving: Serving) -> None:
        if self._connection is not None:
            self._open(serving)

    def _open(self, serving: Serving) -> None:
        # Two of one queue, as when a version is made anew, take turns: kombu's Redis transport knows one consumer each.
        if serving.stopped or any(one.queues == serving.queues and not one.stopped for one in self._lanes):
            return
        topology.declare(self._connection, serving.queues)
        amqp = topology.is_amqp(self._connection)
        self._lanes[serving] = open_lanes(serving, self._connection, amqp=amqp, name=self._pool.name)
        for lane in self._lanes[serving]:
            lane.consume(partial(self._receive, serving), self._refuse, signing=self._signing)
        about = {"model": serving.entry.manifest.name, "version": serving.entry.version}
        log.info("consuming", extra=about | {"prefetch": serving.prefetch})

    def _close(self, serving: Serving) -> None:
        """Consume no more for a model whose last executor ended and cannot be had again: another worker may have it."""
        if self._ended or not serving.failed or serving.stopped or serving not in self._lanes:
            return
        lanes = self._lanes[serving]
        for lane in lanes:
            lane.cancel()
        waiting = self._pool.disclaimed([(serving, serving.release())])
        self._give_back(waiting)
        for lane in lanes:
            lane.flush()
            lane.end()
        del self._lanes[serving]
        about = {"model": serving.entry.manifest.name, "version": serving.entry.version}
        log.warning("consuming no more: model cannot be loaded again", extra=about | {"given_back": len(waiting)})

    def _retire(self, serving: Serving) -> None:
        """End one serving: take no more, let what runs finish, give the rest back. Asked again until it is gone."""
        if self._ended or self._connection is None or serving not in self._pool.servings:
            return
        lanes = self._lanes.get(serving, [])
        if not serving.stopped:
            # Jobs that were pushed straight to the queue have no record that would say so.
            if serving.draining and any(topology.depth(self._connection, lane.queue) for lane in lanes):
                return
            for lane in lanes:
                lane.cancel()
            self._give_back(self._pool.disclaimed([(serving, serving.stop_taking())]))
            for other in self._pool.servings:
                if other.ready:
                    self._open(other)
        if serving.finish(0):
            for lane in lanes:
                lane.flush()
            self._give_back(self._pool.disclaimed([(serving, serving.unfinished())]))
            for lane in lanes:
                lane.end()
            self._lanes.pop(serving, None)
            self._pool.remove(serving)

    def _receive(self, serving: Serving, delivery: Delivery) -> None:
        serving.receive(delivery)
        lane = delivery.lane
        if delivery.is_shard:
            lane.shard_s = delivery.arrived_s
            if lane.prefetch > serving.shards_ahead:
                self._soon(self._narrow, serving, lane)
        elif lane.prefetch < serving.prefetch and delivery.arrived_s - lane.shard_s > CALM_S:
            self._soon(lane.hold, serving.prefetch)

    def _narrow(self, serving: Serving, lane: Lane) -> None:
        """Hold only as many shards as are soon begun: another worker may be idle."""
        if lane.alive and not serving.stopped:
            lane.hold(serving.shards_ahead)
            self._give_back(serving.surplus(lane))

    def _refuse(self, lane: Lane, tag: Any, body: bytes, error: PenstockError) -> None:
        self._refusals.add(Bad(lane, tag, body, error), self._ask_flush)

    def _ask_flush(self) -> None:
        """From any thread: one flush soon, however many ask."""
        if not self._flush_asked.is_set():
            self._flush_asked.set()
            self._soon(self._flush)

    def _flush(self) -> None:
        self._flush_asked.clear()
        self._each(Lane.flush)

    def _renew(self) -> None:
        self._each(Lane.renew)

    def _give_back(self, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            delivery.lane.give_back(delivery.tag)

    def _last_word(self, step: Callable[[], None]) -> None:
        """Something said to a broker that may be gone: it gives back by itself what a closed connection held."""
        try:
            step()
        except self._errors() as error:
            log.info("the broker did not hear", extra={"reason": str(error)})

    def _each(self, step: Callable[[Lane], None]) -> None:
        for lane in self._all():
            step(lane)

    def _all(self) -> list[Lane]:
        return [lane for lanes in self._lanes.values() for lane in lanes]

    def _errors(self) -> tuple[type[Exception], ...]:
        return (OSError, *(self._connection.connection_errors if self._connection is not None else ()))

    def _soon(self, step: Callable[..., None], *args: Any) -> None:
        if self._hub is not None:
            self._hub.call_soon(step, *args)


def lanes_step(lanes: Lanes) -> type[Any]:
    """The bootstep class that Celery instantiates with each consumer."""

    class LanesStep(bootsteps.StartStopStep):  # type: ignore[misc]
        requires = ("celery.worker.consumer:Connection",)

        def start(self, consumer: Any) -> None:
            lanes.connected(consumer.connection, consumer.hub)

        def stop(self, consumer: Any) -> None:
            # Celery restarts its steps when the connection is lost, and stops them when the worker ends.
            if ending():
                lanes.shutdown(lambda: keep_alive(consumer.connection))
            lanes.disconnected()

        shutdown = stop

    return LanesStep


def ending() -> bool:
    """Whether a signal asked the worker to end (an exit code, which may be 0)."""
    return any(
        flag is not None and flag is not False for flag in (celery_state.should_stop, celery_state.should_terminate)
    )


def keep_alive(connection: Any) -> None:
    """While a batch is waited for, the event loop stands still: heartbeats are sent from here."""
    if connection is not None and connection.supports_heartbeats:
        connection.heartbeat_check()
