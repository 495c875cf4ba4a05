"""Messages that are no job anybody could be answered for: told to the operator, bounded, and never dropped unseen."""

import hashlib
from collections.abc import Callable

import msgspec

from storage import keys
from storage.clock import wall_ms
from storage.connection import Client, store_errors

#: The newest that are kept; what is counted goes on.
KEPT = 1000
#: Of a message, bytes that are kept.
BEGINNING = 1024


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """One message that was refused. The same bytes, refused again for the same reason, are the same refusal."""

    queue: str
    reason: str
    bytes: int
    sha256: str
    #: How it begins; what is no UTF-8 is shown as `\\xff`.
    begins: str


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    refusal: Refusal
    #: When it was refused last, milliseconds.
    at_ms: int


_encode = msgspec.json.Encoder(order="deterministic").encode
_decode = msgspec.json.Decoder(Refusal).decode


class Refused:
    """The farm's refused messages. Methods raise StoreUnavailable when Redis does not answer."""

    def __init__(self, client: Client, *, now_ms: Callable[[], int] = wall_ms) -> None:
        self._client = client
        self._now_ms = now_ms

    def note(self, body: bytes, *, queue: str, reason: str) -> None:
        """Keep a message's beginning; doing it twice does no harm."""
        begins = body[:BEGINNING].decode(errors="backslashreplace")
        digest = hashlib.sha256(body).hexdigest()
        refusal = Refusal(queue=queue[:255], reason=reason[:1000], bytes=len(body), sha256=digest, begins=begins)
        with store_errors():
            pipe = self._client.pipeline(transaction=True)
            pipe.zadd(keys.REFUSED, {_encode(refusal): self._now_ms()})
            pipe.zremrangebyrank(keys.REFUSED, 0, -KEPT - 1)
            pipe.hincrby(keys.COUNTERS, "refused_messages", 1)
            pipe.execute()

    def newest(self, limit: int) -> list[Seen]:
        with store_errors():
            found = self._client.zrange(keys.REFUSED, 0, limit - 1, desc=True, withscores=True)
        return [Seen(refusal=_decode(text), at_ms=int(score)) for text, score in found]
