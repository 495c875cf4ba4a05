"""HTTP: one connection pool, one place where answers become errors. The only file that imports httpx."""

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeVar

import httpx

from penstock.errors import BadRequest, PenstockError, UnexpectedAnswer, Unreachable, answer_error
from penstock.retry import Attempt, Sleep, pause_before_retry, persist, seconds
from penstock.streams import Body, blocking, content

Got = TypeVar("Got")

#: A long poll may be answered this much later than it asked for.
LONG_POLL_MARGIN_S = 10.0
#: Longest time to wait for a connection; a host that is there accepts at once.
CONNECT_TIMEOUT_S = 5.0
CHUNK_BYTES = 256 * 1024

#: Opens a request's body; called again for each try, so that a stream starts anew.
OpenBody = Callable[[], Body]


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer of the gateway."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise UnexpectedAnswer(f"{self.body[:60]!r} is not JSON: is this address a Penstock gateway?") from error


class Transport:
    """Sends requests to one gateway; safe to share between threads."""

    def __init__(
        self,
        url: str,
        api_key: str | None,
        *,
        user_agent: str,
        timeout_s: float,
        retry_for_s: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Sleep = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        headers = {"User-Agent": user_agent} | ({"Authorization": f"Bearer {api_key}"} if api_key else {})
        try:
            self._http = httpx.Client(base_url=url, headers=headers)
        except httpx.InvalidURL as error:
            raise ValueError(f"the farm's address is {url!r}: {error}") from error
        self.url, self._timeout_s, self._retry_for_s = url, timeout_s, retry_for_s
        self.clock, self.sleep, self._jitter = clock, sleep, jitter

    def close(self) -> None:
        self._http.close()

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
        body: OpenBody | None = None,
        wait_s: float = 0.0,
        patience_s: float | None = None,
        repeatable: bool = True,
    ) -> Answer:
        """The answer to a request, after following redirects; raises PenstockError.

        `wait_s` is how long the gateway was asked to hold the answer. `repeatable` says that doing
        it twice does no harm, so that a lost answer may be asked for again during `patience_s`.
        """

        def attempt() -> Answer:
            with self._opened(method, path, query=query, headers=headers, body=body, wait_s=wait_s) as response:
                return Answer(response.status_code, response.headers, response.read())

        return self._persist(attempt, patience_s=patience_s, repeatable=repeatable)

    def download(self, path: str, into: BinaryIO) -> None:
        """Stream an answer's body into a file; a broken stream starts anew."""

        def attempt() -> None:
            into.seek(0)
            into.truncate()
            with self._opened("GET", path) as response:
                for chunk in response.iter_bytes(CHUNK_BYTES):
                    blocking(into.write, chunk)

        self._persist(attempt, patience_s=None, repeatable=True)

    def lines(self, path: str, *, headers: Mapping[str, str], silence_s: float) -> Iterator[str]:
        """The lines of an answer as they arrive, which may go on for long; not asked for again where it breaks off.

        `silence_s`: the longest time between two of them.
        """
        with self._opened("GET", path, headers=headers, wait_s=silence_s) as response:
            yield from response.iter_lines()

    def pause(self, error: PenstockError, *, tries: int, since: float, patience_s: float | None = None) -> None:
        """Wait before another try; raises the error where there should be none.

        `since`: when the first of the tries failed, by the transport's clock.
        """
        pause_s = pause_before_retry(
            error,
            tries=tries,
            elapsed_s=self.clock() - since,
            patience_s=self._retry_for_s if patience_s is None else patience_s,
            repeatable=True,
            jitter=self._jitter(),
        )
        if pause_s is None:
            raise error
        self.sleep(pause_s)

    def _persist(self, attempt: Attempt[Got], *, patience_s: float | None, repeatable: bool) -> Got:
        return persist(
            attempt,
            patience_s=self._retry_for_s if patience_s is None else patience_s,
            repeatable=repeatable,
            clock=self.clock,
            sleep=self.sleep,
            jitter=self._jitter,
        )

    @contextmanager
    def _opened(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
        body: OpenBody | None = None,
        wait_s: float = 0.0,
    ) -> Iterator[httpx.Response]:
        timeout = httpx.Timeout(
            self._timeout_s,
            connect=min(CONNECT_TIMEOUT_S, self._timeout_s),
            read=self._timeout_s + (wait_s + LONG_POLL_MARGIN_S if wait_s else 0.0),
        )
        request = self._http.build_request(
            method, path, params=query, headers=headers, content=content(body()) if body else None, timeout=timeout
        )
        if not own(request.url, self._http.base_url):
            # A presigned address of the object store: the key is none of its business.
            request.headers.pop("Authorization", None)
        try:
            # httpx drops the Authorization header where a redirect leaves the gateway (RFC 9110, 15.4).
            response = self._http.send(request, stream=True, follow_redirects=True)
            try:
                if response.is_error:
                    raise refusal(response.status_code, response.headers, response.read())
                yield response
            finally:
                response.close()
        except httpx.LocalProtocolError as error:
            raise BadRequest(f"the request cannot be sent ({reason(error)})") from error
        except httpx.HTTPError as error:
            raise unreachable(origin(request.url), error) from error


def origin(url: httpx.URL) -> str:
    """`https://host:port` of an address."""
    return str(url.copy_with(raw_path=b"/")).rstrip("/")


def own(url: httpx.URL, base: httpx.URL) -> bool:
    return (url.scheme, url.host, url.port) == (base.scheme, base.host, base.port)


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> PenstockError:
    """The error that an answer of 4xx or 5xx means, a proxy's HTML included."""
    try:
        problem = json.loads(body)
    except ValueError:
        problem = None
    error = answer_error(problem if isinstance(problem, dict) else {}, status=status)
    if error.retry_after_s is None:
        error.retry_after_s = seconds(headers.get("Retry-After", ""))
    if error.request_id is None:
        error.request_id = headers.get("X-Request-Id")
    return error


def unreachable(url: str, error: httpx.HTTPError) -> Unreachable:
    found = Unreachable(f"cannot reach {url} ({reason(error)})")
    found.sent = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
    return found


def reason(error: httpx.HTTPError) -> str:
    """What happened, in the words of the system call where there are any."""
    if isinstance(error, httpx.ConnectTimeout):
        return "timed out while connecting"
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    text = str(error).strip()
    if text.startswith("[Errno") and "]" in text:
        text = text.partition("]")[2].strip()
    return text[:1].lower() + text[1:] if text else type(error).__name__
