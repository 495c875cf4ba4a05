"""Confirmed publishing, grouped: many request threads hand their messages to one thread and one connection.

That thread publishes all that wait in one write. A few that come while others are unconfirmed wait for these, and so
go together (as Nagle's algorithm has it, RFC 896: a confirm for each costs 0.4 ms of CPU, in groups 0.12 ms); a whole
group does not wait. Publishing is persistent and mandatory. Each message has one outer deadline; within it a lost
connection is made again and what is unconfirmed is published again, since a message that arrives twice is run once
(the job's record sees to that).
"""

import logging
import os
import select
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence

from kombu.exceptions import KombuError

from errors import BrokerUnavailable
from tasks.link import Blocked, Link, connection_to, link
from tasks.ticket import Outgoing, Ticket, away

log = logging.getLogger(__name__)

#: Messages in one write, and as many as do not wait for others' confirms.
GROUP = 128
#: Messages without the broker's word.
WINDOW = 1024
#: Seconds between tries to reach a broker that is away.
PAUSE_S = 0.2


class Publisher:
    """The only way into the broker. Thread-safe; its thread starts with the first message.

    `queues` names the lanes that there are; it is asked again whenever a message goes to one that was not among them.
    """

    def __init__(self, url: str, *, deadline_s: float, queues: Callable[[], Iterable[str]]) -> None:
        self._url = url
        self._deadline_s = deadline_s
        self._queues = queues
        self._waiting: list[Ticket] = []
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._link: Link | None = None
        self._wake = -1
        #: The thread wants to know when so many wait.
        self._wanted = sys.maxsize

    def publish(self, messages: Sequence[Outgoing]) -> list[Exception | None]:
        """Publish and wait for the broker's word on each: None is confirmed, else BrokerUnavailable."""
        deadline = time.monotonic() + self._deadline_s
        tickets = [Ticket(message, deadline) for message in messages]
        self.start(tickets)
        return [_outcome(ticket) for ticket in tickets]

    def start(self, tickets: Sequence[Ticket]) -> None:
        """Publish without waiting: each ticket is settled by the broker's word, or its own deadline passes."""
        if not tickets:
            return
        with self._guard:
            if self._closed:
                for ticket in tickets:
                    ticket.settle(away("this process is ending"))
                return
            if self._thread is None:
                self._wake = os.eventfd(0)
                self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
                self._thread.start()
            self._waiting.extend(tickets)
            if len(self._waiting) >= self._wanted:
                self._wake_up()

    def ready(self) -> None:
        """Raises BrokerUnavailable unless the broker takes a connection within two seconds."""
        connection = connection_to(self._url)
        try:
            # kombu's own `connect` pauses two seconds before a second try.
            connection.ensure_connection(max_retries=0)
            connection.default_channel.close()
        except (OSError, KombuError, *connection.connection_errors) as error:
            raise away(f"no connection to the broker: {error}") from error
        finally:
            connection.release()

    def close(self) -> None:
        """Publish what waits, then end the thread and its connection."""
        with self._guard:
            self._closed = True
            thread = self._thread
            if thread is not None:
                self._wake_up()
        if thread is not None:
            thread.join()
            os.close(self._wake)

    def _wake_up(self) -> None:
        self._wanted = sys.maxsize
        os.eventfd_write(self._wake, 1)

    # -- the thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            batch, closed = self._next()
            if closed and not batch and not self._unconfirmed:
                break
            try:
                if batch:
                    self._send(batch)
                else:
                    self._await()
            # Whatever a transport raises while the broker goes away: the link is replaced and tried again,
            # and the reason reaches each waiting thread when its deadline comes.
            except Exception as error:  # noqa: BLE001
                self._fail(batch, error)
        self._drop_link()

    @property
    def _unconfirmed(self) -> dict[int, Ticket]:
        return self._link.unconfirmed if self._link is not None else {}

    def _next(self) -> tuple[list[Ticket], bool]:
        """What is to be sent now, and whether no more will come."""
        flying = len(self._unconfirmed)
        least = 1 if not flying or self._closed else GROUP if flying < WINDOW else sys.maxsize
        with self._guard:
            if len(self._waiting) < least:
                self._wanted = least
                return [], self._closed
            self._wanted = sys.maxsize
            batch, self._waiting = self._waiting[:GROUP], self._waiting[GROUP:]
            return batch, self._closed

    def _send(self, batch: list[Ticket]) -> None:
        if self._link is None:
            self._link = link(self._url, self._queues())
        self._declare_new(self._link, batch)
        self._link.send(batch)

    def _await(self) -> None:
        """Until there is something to send, or confirms have come; raises TimeoutError where none do."""
        poll, unconfirmed, left_ms = select.poll(), self._unconfirmed, None
        poll.register(self._wake, select.POLLIN)
        if self._link is not None and unconfirmed:
            poll.register(self._link.fileno(), select.POLLIN)
            latest = max(ticket.deadline for ticket in unconfirmed.values())
            left_ms = max(0.0, latest - time.monotonic()) * 1000
        ready = {number for number, _ in poll.poll(left_ms)}
        if self._wake in ready:
            os.eventfd_read(self._wake)
            ready.remove(self._wake)
        elif not ready:
            raise TimeoutError("the broker did not confirm in time")
        if self._link is not None and ready:
            self._link.take_confirms()

    def _fail(self, batch: list[Ticket], error: Exception) -> None:
        """The link is lost: what had no confirm goes again, first of all."""
        lost = dict.fromkeys([*self._unconfirmed.values(), *batch])
        log.warning("publishing failed", extra={"reason": repr(error), "waiting": len(lost)})
        self._drop_link()
        # Under an alarm there is nothing to wait for that a client could not wait for better.
        give_up(lost, error, all_=isinstance(error, Blocked))
        with self._guard:
            left = [ticket for ticket in lost if not ticket.done]
            self._waiting = left + self._waiting
        if left:
            time.sleep(PAUSE_S)

    def _declare_new(self, link: Link, batch: list[Ticket]) -> None:
        """Lanes of a version that has come since the link was made."""
        unknown = {ticket.message.queue for ticket in batch} - link.declared
        if unknown and (new := unknown.intersection(self._queues())):
            link.declare(new)

    def _drop_link(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()


def _outcome(ticket: Ticket) -> Exception | None:
    try:
        ticket.wait()
    except BrokerUnavailable as error:
        return error
    return None


def give_up(batch: Iterable[Ticket], error: Exception, *, all_: bool) -> None:
    """Settle those whose deadline has passed, or all of them."""
    now = time.monotonic()
    for ticket in batch:
        if not ticket.done and (all_ or now >= ticket.deadline - PAUSE_S):
            word = "takes no messages" if all_ else "cannot be reached"
            ticket.settle(away(f"the broker {word}: {error}"))
