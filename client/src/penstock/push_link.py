"""The way into RabbitMQ: persistent, mandatory and confirmed, many messages at once.

A thread of its own holds the connection, so that heartbeats go on whatever the caller does. Confirms are not waited
for one by one: up to `window` messages are without one. A connection that is lost is made again, and what had no
confirm is published again under the same id, which is safe: a job runs once for each id.
"""

import importlib
import threading
import time
from collections import deque
from contextlib import suppress
from itertools import takewhile
from typing import Any
from urllib.parse import unquote, urlsplit

from penstock.errors import AccessError, BrokerUnavailable, NotFound, PenstockError, QueueFull, UnknownModel
from penstock.push_message import EXCHANGE, Outgoing

#: How often the thread looks at the clock, seconds.
TICK_S = 0.25
#: Seconds between tries to reach a broker that is away, and before a message that was turned away goes again.
PAUSE_S = 0.5
#: One try to reach the broker, seconds.
CONNECT_S = 5.0
#: A connection that was sent messages and has confirmed none for so long is given up, and another one made.
STALE_S = 10.0
#: Seconds for the broker to answer that a connection ends.
CLOSE_S = 2.0


class Link:
    """One connection that publishes. `put` and `flush` are for one thread of the caller's."""

    def __init__(self, url: str, *, window: int, patience_s: float) -> None:
        self._pika = library("pika")
        self._parameters = parameters(self._pika, url)
        self._window = window
        self._patience_s = patience_s
        self._guard = threading.Condition()
        #: To be published; what was turned away, and since when; published and without a confirm, by delivery tag.
        self._waiting: deque[Outgoing] = deque()
        self._turned_away: deque[tuple[float, Outgoing]] = deque()
        self._unconfirmed: dict[int, Outgoing] = {}
        self._refused: dict[str, PenstockError] = {}
        self._returned: dict[str, str] = {}
        self._dead: PenstockError | None = None
        self._closing = False
        #: Since when something waits and nothing was confirmed.
        self._quiet_since = time.monotonic()
        #: Why nothing goes on at the moment.
        self._trouble: PenstockError = BrokerUnavailable("the broker does not confirm what it is sent")
        self._connection: Any = None
        self._channel: Any = None
        self._blocked = self._woken = False
        self._tag = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def open(self) -> int:
        """Messages without the broker's word."""
        return len(self._waiting) + len(self._turned_away) + len(self._unconfirmed)

    def put(self, message: Outgoing) -> None:
        """Publish once there is room in the window; raises what the link ended with (see `check`)."""
        with self._guard:
            self._guard.wait_for(lambda: self._dead or self.open < self._window)
            self.check()
            if not self.open:
                self._quiet_since = time.monotonic()
            self._waiting.append(message)
        self._wake()

    def flush(self) -> dict[str, PenstockError]:
        """Wait for the broker's word on every message; those it refused, by id, and why."""
        with self._guard:
            self._guard.wait_for(lambda: self._dead or not self.open)
            self.check()
            refused, self._refused = self._refused, {}
            return refused

    def refused(self) -> dict[str, PenstockError]:
        """What the broker has refused since the last look; raises what the link ended with."""
        with self._guard:
            self.check()
            refused, self._refused = self._refused, {}
            return refused

    def check(self) -> None:
        """Raises AccessError, BrokerUnavailable or QueueFull once nothing can be published any more."""
        if self._dead is not None:
            left = f"{self.open} messages have no confirm; to push them again under the same ids is safe"
            raise type(self._dead)(f"{self._dead.detail}; {left}")

    def close(self) -> None:
        """End at once: whoever wants the last confirms flushes first."""
        self._closing = True
        self._stop.set()
        self._wake()
        if self._thread is not None:
            self._thread.join()

    def _wake(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="penstock-push", daemon=True)
            self._thread.start()
        connection = self._connection
        if connection is None or self._woken:
            return
        self._woken = True
        # The loop may just have ended: then the next connection publishes what waits.
        with suppress(Exception):
            connection.ioloop.add_callback_threadsafe(self._awake)

    # -- the thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._connect()
            # Whatever a transport raises while the broker goes away is one more lost connection.
            except Exception as error:  # noqa: BLE001
                self._lost(error)
            self._stop.wait(PAUSE_S)

    def _connect(self) -> None:
        """One connection, from the first try to its end."""
        connection = self._pika.SelectConnection(
            self._parameters,
            on_open_callback=self._opened,
            on_open_error_callback=self._ended,
            on_close_callback=self._ended,
        )
        self._connection, self._woken = connection, False
        connection.add_on_connection_blocked_callback(self._block)
        connection.add_on_connection_unblocked_callback(self._unblock)
        connection.ioloop.call_later(TICK_S, self._tick)
        try:
            connection.ioloop.start()
        finally:
            self._connection = None
            self._woken = True
            connection.ioloop.close()

    def _opened(self, connection: Any) -> None:
        connection.channel(on_open_callback=self._ready)

    def _ready(self, channel: Any) -> None:
        self._tag, self._blocked = 0, False
        channel.add_on_return_callback(self._return)
        channel.add_on_close_callback(self._channel_closed)
        channel.confirm_delivery(self._word, callback=lambda _: self._begin(channel))

    def _begin(self, channel: Any) -> None:
        self._channel = channel
        self._publish()

    def _awake(self) -> None:
        self._woken = False
        if self._closing:
            self._end_connection()
        else:
            self._publish()

    def _publish(self) -> None:
        channel = self._channel
        while channel is not None and channel.is_open and self._waiting and not self._blocked:
            with self._guard:
                message = self._waiting.popleft()
                self._tag += 1
                self._unconfirmed[self._tag] = message
            channel.basic_publish(
                exchange=EXCHANGE,
                routing_key=message.queue,
                body=message.body,
                properties=self._pika.BasicProperties(
                    delivery_mode=2,
                    content_type="application/json",
                    message_id=message.id,
                    reply_to=message.reply_to or None,
                ),
                mandatory=True,
            )

    def _return(self, _channel: Any, method: Any, properties: Any, _body: bytes) -> None:
        # Comes before the confirm of the same message.
        self._returned[properties.message_id] = method.routing_key

    def _word(self, frame: Any) -> None:
        """Confirmed, or not: one tag, or all up to it."""
        method = frame.method
        good = isinstance(method, self._pika.spec.Basic.Ack)
        now = time.monotonic()
        with self._guard:
            tags = [method.delivery_tag]
            if method.multiple:
                tags = list(takewhile(lambda tag: tag <= method.delivery_tag, self._unconfirmed))
            for message in [self._unconfirmed.pop(tag) for tag in tags if tag in self._unconfirmed]:
                self._settle(message, good, now)
            self._guard.notify_all()

    def _settle(self, message: Outgoing, good: bool, now: float) -> None:
        if queue := self._returned.pop(message.id, ""):
            self._refused[message.id] = UnknownModel(
                f"the broker has no queue {queue!r}: no worker or gateway has declared this model, version and pool"
            )
        elif not good:
            self._turned_away.append((now, message))
            self._trouble = QueueFull(f"the queue {message.queue!r} is full")
            return
        self._quiet_since = now

    def _tick(self) -> None:
        now = time.monotonic()
        with self._guard:
            while self._turned_away and now - self._turned_away[0][0] >= PAUSE_S:
                self._waiting.append(self._turned_away.popleft()[1])
            if self.open and now - self._quiet_since > self._patience_s:
                self._die(self._trouble)
            stale = self._unconfirmed and now - self._quiet_since > min(STALE_S, self._patience_s / 3)
        if self._closing or self._dead:
            self._end_connection()
            return
        if stale and not self._blocked:
            self._abort(TimeoutError("it confirms nothing that it is sent"))
            return
        self._publish()
        self._connection.ioloop.call_later(TICK_S, self._tick)

    def _block(self, _connection: Any, frame: Any) -> None:
        self._blocked = True
        reason = frame.method.reason
        self._trouble = BrokerUnavailable(
            f"the broker takes no messages for now: {reason or 'it is short of something'}"
        )

    def _unblock(self, _connection: Any, _frame: Any) -> None:
        self._blocked = False
        self._publish()

    def _channel_closed(self, _channel: Any, reason: Any) -> None:
        self._channel = None
        if not self._closing:
            with self._guard:
                if error := fatal(self._pika, reason):
                    self._die(error)
            self._end_connection()

    def _end_connection(self) -> None:
        connection = self._connection
        if connection is None or connection.is_closing or connection.is_closed:
            return
        if self._blocked or not connection.is_open:
            # A broker that takes nothing does not hear of the end either.
            self._abort(ConnectionAbortedError("the pusher was closed"))
            return
        connection.close()
        connection.ioloop.call_later(CLOSE_S, lambda: self._abort(TimeoutError("no answer to the end")))

    def _abort(self, reason: Exception) -> None:
        connection = self._connection
        if connection is not None and not connection.is_closed:
            # What pika itself does where heartbeats are missed; it has no public name for it.
            connection._terminate_stream(reason)

    def _ended(self, connection: Any, reason: BaseException) -> None:
        self._lost(reason)
        connection.ioloop.stop()

    def _lost(self, reason: BaseException) -> None:
        """What had no confirm goes again, first of all."""
        with self._guard:
            self._channel = None
            self._waiting.extendleft(reversed(self._unconfirmed.values()))
            self._unconfirmed.clear()
            self._returned.clear()
            if self._closing:
                return
            if not self._blocked:
                self._trouble = BrokerUnavailable(f"the broker cannot be reached: {told(reason)}")
            if error := fatal(self._pika, reason):
                self._die(error)
            elif self.open and time.monotonic() - self._quiet_since > self._patience_s:
                self._die(self._trouble)

    def _die(self, error: PenstockError) -> None:
        self._dead = self._dead or error
        self._stop.set()
        self._guard.notify_all()


def library(name: str) -> Any:
    """A module of the optional part; raises ImportError that says how to get it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"pushing needs {name}: pip install 'penstock[push]'", name=name) from error


def parameters(pika: Any, url: str) -> Any:
    if not url.startswith(("amqp://", "amqps://")):
        raise ValueError(f"the broker's address is {url!r}; pushing takes a RabbitMQ: amqp://user:password@host/vhost")
    found = pika.URLParameters(url)
    # `//` is the vhost `/` in the farm's own settings; pika takes it for one without a name.
    found.virtual_host = unquote(urlsplit(url).path[1:]) or "/"
    found.socket_timeout = found.stack_timeout = CONNECT_S
    found.blocked_connection_timeout = None
    found.client_properties = {"product": "penstock push"}
    return found


def fatal(pika: Any, reason: BaseException, needed: str = EXCHANGE) -> PenstockError | None:
    """The error where no other try can help; `needed` is what has to be there."""
    names = pika.exceptions
    causes = [reason, *(one for one in getattr(reason, "exceptions", ()) or ())]
    for cause in causes:
        if isinstance(cause, names.ProbableAuthenticationError):
            return AccessError("the broker does not know this user or password", status=401)
        if isinstance(cause, names.ProbableAccessDeniedError):
            return AccessError("the broker does not let this user into the vhost of its address")
        code = getattr(cause, "reply_code", None)
        if code == 403:
            return AccessError(f"the broker refuses it to this user: {told(cause)}")
        if code == 404:
            said = "`penstock topology` declares what there must be"
            return NotFound(f"the broker has no {needed!r} ({told(cause)}): {said}")
    return None


def told(reason: BaseException) -> str:
    return str(getattr(reason, "reply_text", "") or reason or type(reason).__name__)
