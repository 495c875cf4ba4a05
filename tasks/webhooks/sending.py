"""One webhook over the wire: to an address that was checked, within a time, and no further.

The name is resolved once and each address it has must be allowed; the connection goes to that very address, with the
name in SNI and `Host`, so that a resolver that answers differently the second time gains nothing. Redirects are not
followed, proxies of the environment not used, and neither a slow nor an endless answer holds the sender.
"""

import ipaddress
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any, NamedTuple

import httpcore

from errors import InvalidInput, TargetRefused, Unreachable
from tasks.webhooks.addresses import Address, Policy, Target, check_url

#: What an answer may take in all, seconds: Standard Webhooks recommends 15 to 30.
TIMEOUT_S = 15.0
#: Bytes of an answer's body that are kept.
EXCERPT_BYTES = 512
#: Bytes that a receiver may send in all, headers and TLS included.
MAX_BYTES = 256 * 1024

Resolve = Callable[[str, int], Sequence[Address]]


class Answer(NamedTuple):
    status: int
    latency_ms: float
    #: The first bytes of the body.
    excerpt: bytes
    #: What `Retry-After` says, seconds from now.
    retry_after_s: float | None = None


def post(
    url: str, headers: Mapping[str, str], body: bytes, *,
    policy: Policy, timeout_s: float = TIMEOUT_S, resolve: "Resolve | None" = None,
) -> Answer:  # fmt: skip
    """POST once. Raises TargetRefused (nothing was connected to) or Unreachable (no answer came)."""
    began = time.monotonic()
    try:
        target = check_url(url, policy)
    except InvalidInput as error:
        raise TargetRefused(error.detail) from error
    backend = Checked(target, policy, began + timeout_s, resolve or resolved)
    request = httpcore.Request(
        "POST",
        httpcore.URL(
            scheme=target.scheme.encode(), host=target.host.encode(), port=target.port, target=target.path.encode()
        ),
        headers=[
            ("Host", target.authority),
            ("Connection", "close"),
            ("Content-Length", str(len(body))),
            *headers.items(),
        ],
        content=body,
        extensions={"timeout": dict.fromkeys(("connect", "read", "write", "pool"), timeout_s)},
    )
    try:
        with httpcore.ConnectionPool(ssl_context=tls(), network_backend=backend, http2=False) as pool:
            answer = pool.handle_request(request)
            latency_ms = (time.monotonic() - began) * 1000
            excerpt = first_bytes(answer.iter_stream())
            return Answer(answer.status, latency_ms, excerpt, retry_after_s(dict(answer.headers)))
    except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, OSError) as error:
        raise Unreachable(f"no answer from {target.host}: {reason(error)}") from error


class Checked(httpcore.NetworkBackend):
    """Connects to checked addresses of one target, before a deadline."""

    def __init__(self, target: Target, policy: Policy, deadline: float, resolve: Resolve) -> None:
        self._target = target
        self._policy = policy
        self._deadline = deadline
        self._resolve = resolve

    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, local_address: str | None = None,
        socket_options: "Iterable[Any] | None" = None,
    ) -> httpcore.NetworkStream:  # fmt: skip
        addresses = within(self._deadline, lambda: self._resolve(self._target.host, self._target.port))
        # One that is not allowed spoils them all: whoever made such a name means no good.
        for address in addresses:
            self._policy.check(self._target, address)
        last: Exception = httpcore.ConnectError(f"{self._target.host} has no address")
        for address in addresses:
            try:
                stream = httpcore.SyncBackend().connect_tcp(str(address), port, timeout=left(self._deadline))
            except httpcore.ConnectError as error:
                last = error
            else:
                return Bounded(stream, self._deadline)
        raise last


class Bounded(httpcore.NetworkStream):
    """A connection that ends at its deadline and after so many bytes."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline
        self._taken = 0

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data = self._stream.read(max_bytes, left(self._deadline))
        self._taken += len(data)
        if self._taken > MAX_BYTES:
            raise httpcore.ReadError(f"more than {MAX_BYTES} bytes")
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, left(self._deadline))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return Bounded(self._stream.start_tls(ssl_context, server_hostname, left(self._deadline)), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def resolved(host: str, port: int) -> list[Address]:
    """The addresses of a name, each once; raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ipaddress.ip_address(info[4][0]) for info in found))


def within(deadline: float, ask: Callable[[], Sequence[Address]]) -> Sequence[Address]:
    """What `ask` answers: on a thread that may be left behind, as the system's resolver knows no timeout."""
    answers: queue.SimpleQueue[Sequence[Address] | Exception] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put(ask())
        # The caller's to raise.
        except Exception as error:  # noqa: BLE001
            answers.put(error)

    threading.Thread(target=run, name="webhook-resolver", daemon=True).start()
    try:
        answer = answers.get(timeout=left(deadline))
    except queue.Empty:
        raise httpcore.ConnectTimeout("its name was not resolved in time") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def left(deadline: float) -> float:
    """Seconds until the deadline; raises ReadTimeout once it is past."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise httpcore.ReadTimeout("the time is over")
    return seconds


def first_bytes(pieces: Iterable[bytes]) -> bytes:
    """What is kept of a body: as much as came; the status stands, whatever becomes of the rest."""
    kept = b""
    try:
        for piece in pieces:
            kept += piece
            if len(kept) >= EXCERPT_BYTES:
                break
    except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, OSError):
        pass
    return kept[:EXCERPT_BYTES]


def retry_after_s(headers: Mapping[bytes, bytes], *, now: Callable[[], float] = time.time) -> float | None:
    """Seconds that `Retry-After` asks for, a number or a date (RFC 9110 section 10.2.3), or None."""
    text = {name.lower(): value for name, value in headers.items()}.get(b"retry-after", b"").decode("latin-1").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now())
    except (ValueError, OverflowError):
        return None


def reason(error: Exception) -> str:
    text = str(error) or type(error).__name__
    return "it took too long" if isinstance(error, (httpcore.TimeoutException, TimeoutError)) else text


@lru_cache(maxsize=1)
def tls() -> ssl.SSLContext:
    """Verifies receivers against the system's authorities, or those of SSL_CERT_FILE."""
    return ssl.create_default_context()
