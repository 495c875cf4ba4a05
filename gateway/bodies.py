"""Reading request bodies: bounded, and refused while they stream rather than after.

Granian hands a body over as it arrives, so nothing here holds more than the limit. A chunked body has no
length that could be checked beforehand: it is counted.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from errors import MalformedBody, PayloadTooLarge, UnsupportedMediaType

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

#: Bytes read at once.
CHUNK = 64 * 1024


def content_type(environ: "WSGIEnvironment") -> str:
    """The media type without its parameters, in lower case."""
    return environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()  # type: ignore[no-any-return]


def require(environ: "WSGIEnvironment", *allowed: str) -> str:
    """The body's media type; raises UnsupportedMediaType unless it is one of `allowed`."""
    given = content_type(environ)
    if given not in allowed:
        raise UnsupportedMediaType(f"Content-Type is {given[:80] or 'missing'!r}; send {' or '.join(allowed)}")
    return given


def json_text(environ: "WSGIEnvironment", max_bytes: int, *, optional: bool = False) -> bytes:
    """The whole body, which must be JSON by its type; raises UnsupportedMediaType, and as `read` does.

    `optional`: a request without a Content-Type has none, b"".
    """
    if optional and not content_type(environ):
        return b""
    require(environ, "application/json")
    return read(environ, max_bytes)


def content_length(environ: "WSGIEnvironment", max_bytes: int) -> int | None:
    """What the client announced, None when it announced nothing; raises before a byte is read.

    PayloadTooLarge, or UnsupportedMediaType for a compressed body: what it would grow to cannot be known.
    """
    encoding = environ.get("HTTP_CONTENT_ENCODING", "identity")
    if encoding.lower() != "identity":
        raise UnsupportedMediaType(f"Content-Encoding {encoding[:80]!r} is not understood; send the body as it is")
    text = environ.get("CONTENT_LENGTH")
    if not text:
        return None
    if not text.isascii() or not text.isdigit():
        raise MalformedBody("Content-Length is no number")
    length = int(text[:20])
    if length > max_bytes:
        raise PayloadTooLarge(f"the body has {length} bytes; at most {max_bytes} are taken")
    return length


def read(environ: "WSGIEnvironment", max_bytes: int) -> bytes:
    """The whole body, of `max_bytes` at most; raises PayloadTooLarge, or MalformedBody when it ends too early."""
    length = content_length(environ, max_bytes)
    if length is None:
        return b"".join(chunks(environ, max_bytes))
    body: bytes = environ["wsgi.input"].read(length)
    if len(body) < length:
        raise truncated(len(body), length)
    return body


def chunks(environ: "WSGIEnvironment", max_bytes: int) -> Iterator[bytes]:
    """The body as it arrives; raises as `read` does, possibly in the middle."""
    length = content_length(environ, max_bytes)
    if length is None and not environ.get("wsgi.input_terminated"):
        return
    stream = environ["wsgi.input"]
    count = 0
    while length is None or count < length:
        chunk = stream.read(CHUNK if length is None else min(CHUNK, length - count))
        if not chunk:
            break
        count += len(chunk)
        if count > max_bytes:
            raise PayloadTooLarge(f"the body has more than {max_bytes} bytes")
        yield chunk
    if length is not None and count < length:
        raise truncated(count, length)


def truncated(count: int, length: int) -> MalformedBody:
    return MalformedBody(f"the body ended after {count} of {length} bytes")
