"""multipart/form-data as it arrives (RFC 7578): one part after the other, nothing held but one chunk."""

from collections.abc import Iterable, Iterator
from itertools import chain

from flask import request
from werkzeug.datastructures import Headers
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Event, Field, File, MultipartDecoder, NeedData

from errors import MalformedBody, PayloadTooLarge

#: Parts that one form may have.
MAX_PARTS = 256
#: Characters of a boundary (RFC 2046, 5.1.1).
MAX_BOUNDARY = 70
#: Bytes that a part's headers, or what stands before the first part, may have.
MAX_HEAD = 256 * 1024


class Part:
    """One part; its `data` must be read to the end before the next part is asked for."""

    def __init__(self, event: Field | File, data: Iterator[bytes]) -> None:
        self.name = event.name or ""
        self.filename = event.filename if isinstance(event, File) else None
        self.headers: Headers = event.headers
        self.data = data

    @property
    def content_type(self) -> str:
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    def read(self, max_bytes: int) -> bytes:
        """The part's data; raises PayloadTooLarge beyond `max_bytes`."""
        head, rest = self.head(max_bytes)
        if rest is not None:
            raise PayloadTooLarge(f"the form field {self.name[:80]!r} has more than {max_bytes} bytes")
        return head

    def head(self, max_bytes: int) -> tuple[bytes, Iterator[bytes] | None]:
        """The data if it has `max_bytes` at most, and None; else its beginning, and what follows."""
        kept: list[bytes] = []
        count = 0
        for chunk in self.data:
            kept.append(chunk)
            count += len(chunk)
            if count > max_bytes:
                return b"".join(kept), self.data
        return b"".join(kept), None

    def stream(self, head: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
        return chain([head], rest)


def parts(chunks: Iterable[bytes]) -> Iterator[Part]:
    """The parts of the request's form; raises MalformedBody for one that is broken or ends too early."""
    _, options = parse_options_header(request.environ.get("CONTENT_TYPE", ""))
    boundary = options.get("boundary", "")
    if not boundary or not boundary.isascii() or len(boundary) > MAX_BOUNDARY:
        raise MalformedBody("Content-Type names no boundary between the form's parts (1 to 70 ASCII characters)")
    events = _events(MultipartDecoder(boundary.encode(), MAX_HEAD, max_parts=MAX_PARTS), chunks)
    for event in events:
        if isinstance(event, (Field, File)):
            part = Part(event, _data(events))
            yield part
            for _ in part.data:
                pass  # what the reader left


def _data(events: Iterator[Event]) -> Iterator[bytes]:
    for event in events:
        if isinstance(event, Data):
            if event.data:
                yield event.data
            if not event.more_data:
                return


def _events(decoder: MultipartDecoder, chunks: Iterable[bytes]) -> Iterator[Event]:
    try:
        for chunk in chain(chunks, [None]):
            decoder.receive_data(chunk)
            while not isinstance(event := decoder.next_event(), (NeedData, Epilogue)):
                yield event
    except RequestEntityTooLarge as error:
        raise PayloadTooLarge(f"the form has more than {MAX_PARTS} parts, or a part's headers are too long") from error
    except (ValueError, AttributeError) as error:
        raise MalformedBody("the form is broken, or ends before its last boundary") from error
