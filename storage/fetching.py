"""Something large from another place into a file: from an allowed host by https, or from an S3 bucket.

Never more than `max_bytes`, never longer than `within_s`, and never from where the operator did not say.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import BinaryIO
from urllib.parse import unquote, urljoin, urlsplit

import httpx
from minio.helpers import check_bucket_name

from errors import FetchError, NotFound, ObjectsUnavailable, SettingsError
from storage.s3 import translated
from storage.s3server import Server, client, parse

#: Seconds without a byte after which a server counts as dead.
SILENCE_S = 30.0
#: Redirects that are followed on the one host.
MAX_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
PIECE_BYTES = 2**20
AMAZON = "s3.amazonaws.com"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What may be fetched."""

    #: `host` (port 443) or `host:port`.
    hosts: frozenset[str]
    max_bytes: int
    within_s: float


#: Called with the whole length once it is known (None: unknown), and with each piece's.
Total = Callable[[int | None], None]
Advance = Callable[[int], None]


def https(url: str, sink: BinaryIO, limits: Limits, *, total: Total, advance: Advance) -> None:
    """Raises FetchError where the host is not allowed, or does not give the file within the limits."""
    deadline = time.monotonic() + limits.within_s
    with httpx.Client(timeout=SILENCE_S, follow_redirects=False) as session:
        for _ in range(MAX_REDIRECTS + 1):
            check_address(url, limits.hosts)
            try:
                with session.stream("GET", url, headers={"Accept-Encoding": "identity"}) as answer:
                    if answer.status_code not in REDIRECTS:
                        return take(answer, sink, limits, deadline, total, advance)
                    url = next_address(url, answer.headers.get("Location", ""))
            except httpx.HTTPError as error:
                raise FetchError(f"{url} cannot be fetched: {error or type(error).__name__}") from error
    raise FetchError(f"{url} is redirected more than {MAX_REDIRECTS} times")


def check_address(url: str, hosts: frozenset[str]) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https":
        raise FetchError(f"a model is fetched by https only, not from {parts.scheme}://")
    if parts.username is not None or not parts.hostname:
        raise FetchError("an address is https://host/path, without user and password")
    try:
        place = parts.hostname if parts.port in (None, 443) else f"{parts.hostname}:{parts.port}"
    except ValueError as error:
        raise FetchError(f"{url}: {error}") from error
    if place not in hosts:
        raise FetchError(
            f"{place} is not a host that models may come from; PENSTOCK_MODEL_HOSTS names "
            + (", ".join(sorted(hosts)) or "none")
        )


def next_address(url: str, location: str) -> str:
    found = urljoin(url, location)
    if urlsplit(found)[:2] != urlsplit(url)[:2]:
        raise FetchError(f"{url} leads to another host, {urlsplit(found).netloc}: name the file's own address")
    return found


def take(
    answer: httpx.Response, sink: BinaryIO, limits: Limits, deadline: float, total: Total, advance: Advance
) -> None:
    if answer.status_code != 200:
        raise FetchError(f"{answer.url} answers {answer.status_code} {answer.reason_phrase}")
    length = answer.headers.get("Content-Length", "")
    announced = int(length) if length.isdecimal() else None
    total(announced)
    check_length(announced, limits)
    keep(answer.iter_raw(PIECE_BYTES), sink, limits, deadline, advance)


def check_length(length: int | None, limits: Limits) -> None:
    if length is not None and length > limits.max_bytes:
        raise FetchError(f"has {length} bytes; at most {limits.max_bytes} are taken (PENSTOCK_MAX_MODEL_BYTES)")


def keep(pieces: Iterable[bytes], sink: BinaryIO, limits: Limits, deadline: float, advance: Advance) -> None:
    kept = 0
    for piece in pieces:
        kept += len(piece)
        check_length(kept, limits)
        if time.monotonic() > deadline:
            raise FetchError(f"not there after {limits.within_s:g} s (PENSTOCK_MODEL_FETCH_S)")
        sink.write(piece)
        advance(len(piece))


def bucket(url: str, server: Server, sink: BinaryIO, limits: Limits, *, total: Total, advance: Advance) -> None:
    """Fetch `s3://bucket/key` from `server`; raises FetchError or ObjectsUnavailable."""
    deadline = time.monotonic() + limits.within_s
    name, key = place(url)
    store = client(replace(server, bucket=name), server.host, secure=server.secure)
    try:
        with translated(key):
            length = store.stat_object(name, key).size
            total(length)
            check_length(length, limits)
            answer = store.get_object(name, key)
            try:
                keep(answer.stream(PIECE_BYTES), sink, limits, deadline, advance)
            finally:
                answer.close()
                answer.release_conn()
    except NotFound as error:
        raise FetchError(f"{url}: {server.host} has no such bucket or object") from error
    except ObjectsUnavailable as error:
        raise ObjectsUnavailable(f"{url}: {error.detail}") from error


def place(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    key = unquote(parts.path.removeprefix("/"))
    try:
        check_bucket_name(parts.netloc, strict=True)
    except ValueError as error:
        raise FetchError(f"{url}: the address is s3://bucket/key: {error}") from error
    if not key:
        raise FetchError(f"{url}: the address is s3://bucket/key, and the key is missing")
    return parts.netloc, key


def server_of(objects_url: str, env: Mapping[str, str]) -> Server:
    """Where a bucket is and how to log in: the standard AWS_* variables, else the farm's own store."""
    if "AWS_ACCESS_KEY_ID" not in env:
        if not objects_url.startswith("s3://"):
            raise SettingsError(
                "s3:// needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_ENDPOINT_URL for a store that is "
                "not Amazon's), or a store in PENSTOCK_OBJECTS_URL"
            )
        return parse(objects_url)
    endpoint = env.get("AWS_ENDPOINT_URL_S3") or env.get("AWS_ENDPOINT_URL") or f"https://{AMAZON}"
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/"):
        raise SettingsError(f"AWS_ENDPOINT_URL is {endpoint!r}; it must be https://host[:port]")
    return Server(
        host=parts.netloc,
        bucket="",
        access_key=env["AWS_ACCESS_KEY_ID"],
        secret_key=env.get("AWS_SECRET_ACCESS_KEY", ""),
        session_token=env.get("AWS_SESSION_TOKEN") or None,
        secure=parts.scheme == "https",
        region=env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION") or "",
    )
