"""HTTP: one connection pool, one place where answers become errors. The only file that imports httpx.

Written by `python -m client.twin` from penstock.transport: change that.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import BinaryIO

import httpx

from penstock.aio.retry import Attempt, Sleep, persist
from penstock.aio.streams import blocking, content
from penstock.errors import BadRequest, PenstockError
from penstock.retry import pause_before_retry
from penstock.transport import (
    CHUNK_BYTES,
    CONNECT_TIMEOUT_S,
    LONG_POLL_MARGIN_S,
    Answer,
    Got,
    OpenBody,
    origin,
    own,
    reason,
    refusal,
    unreachable,
)


class AsyncTransport:
    """Sends requests to one gateway; for the tasks of one event loop."""

    def __init__(
        self,
        url: str,
        api_key: str | None,
        *,
        user_agent: str,
        timeout_s: float,
        retry_for_s: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Sleep = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        headers = {"User-Agent": user_agent} | ({"Authorization": f"Bearer {api_key}"} if api_key else {})
        try:
            self._http = httpx.AsyncClient(base_url=url, headers=headers)
        except httpx.InvalidURL as error:
            raise ValueError(f"the farm's address is {url!r}: {error}") from error
        self.url, self._timeout_s, self._retry_for_s = url, timeout_s, retry_for_s
        self.clock, self.sleep, self._jitter = clock, sleep, jitter

    async def close(self) -> None:
        await self._http.aclose()

    async def send(
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

        async def attempt() -> Answer:
            async with self._opened(method, path, query=query, headers=headers, body=body, wait_s=wait_s) as response:
                return Answer(response.status_code, response.headers, await response.aread())

        return await self._persist(attempt, patience_s=patience_s, repeatable=repeatable)

    async def download(self, path: str, into: BinaryIO) -> None:
        """Stream an answer's body into a file; a broken stream starts anew."""

        async def attempt() -> None:
            into.seek(0)
            into.truncate()
            async with self._opened("GET", path) as response:
                async for chunk in response.aiter_bytes(CHUNK_BYTES):
                    await blocking(into.write, chunk)

        await self._persist(attempt, patience_s=None, repeatable=True)

    async def lines(self, path: str, *, headers: Mapping[str, str], silence_s: float) -> AsyncIterator[str]:
        """The lines of an answer as they arrive, which may go on for long; not asked for again where it breaks off.

        `silence_s`: the longest time between two of them.
        """
        async with self._opened("GET", path, headers=headers, wait_s=silence_s) as response:
            async for yielded in response.aiter_lines():
                yield yielded

    async def pause(self, error: PenstockError, *, tries: int, since: float, patience_s: float | None = None) -> None:
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
        await self.sleep(pause_s)

    async def _persist(self, attempt: Attempt[Got], *, patience_s: float | None, repeatable: bool) -> Got:
        return await persist(
            attempt,
            patience_s=self._retry_for_s if patience_s is None else patience_s,
            repeatable=repeatable,
            clock=self.clock,
            sleep=self.sleep,
            jitter=self._jitter,
        )

    @asynccontextmanager
    async def _opened(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
        body: OpenBody | None = None,
        wait_s: float = 0.0,
    ) -> AsyncIterator[httpx.Response]:
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
            response = await self._http.send(request, stream=True, follow_redirects=True)
            try:
                if response.is_error:
                    raise refusal(response.status_code, response.headers, await response.aread())
                yield response
            finally:
                await response.aclose()
        except httpx.LocalProtocolError as error:
            raise BadRequest(f"the request cannot be sent ({reason(error)})") from error
        except httpx.HTTPError as error:
            raise unreachable(origin(request.url), error) from error
