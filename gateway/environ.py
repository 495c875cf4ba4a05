"""A request as granian's RSGI server hands it over, in the form that Flask reads (PEP 3333)."""

import sys
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from errors import BadRequest, HeadersTooLarge, UriTooLong

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


#: Characters of path and query.
MAX_URI = 16 * 1024
#: Lines of headers, and bytes of their names and values.
MAX_HEADERS, MAX_HEADER_BYTES = 64, 32 * 1024


class Headers(Protocol):
    def items(self) -> list[tuple[str, str]]: ...


class Scope(Protocol):
    """https://github.com/emmett-framework/granian/blob/master/docs/spec/RSGI.md"""

    @property
    def proto(self) -> str: ...
    @property
    def http_version(self) -> str: ...
    @property
    def server(self) -> str: ...
    @property
    def client(self) -> str: ...
    @property
    def scheme(self) -> str: ...
    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def query_string(self) -> str: ...
    @property
    def authority(self) -> str | None: ...
    @property
    def headers(self) -> Headers: ...


def fault(scope: Scope, headers: Sequence[tuple[str, str]]) -> BadRequest | None:
    """What is too large about a request, before anything is made of it.

    Granian's own limits lie above these (64 KiB; 100 lines, 400 KiB) and answer with the bare status.
    """
    if len(scope.path) + len(scope.query_string) > MAX_URI:
        return UriTooLong(f"path and query have more than {MAX_URI} characters")
    if len(headers) > MAX_HEADERS:
        return HeadersTooLarge(f"there are {len(headers)} header lines; {MAX_HEADERS} are taken")
    size = sum([len(name) + len(value) for name, value in headers])
    if size <= MAX_HEADER_BYTES:
        return None
    name = max(headers, key=lambda line: len(line[1]))[0]
    return HeadersTooLarge(
        f"the headers have {size} bytes, most of them in {name[:80]!r}; {MAX_HEADER_BYTES} are taken"
    )


def environ_of(scope: Scope, headers: Sequence[tuple[str, str]]) -> "WSGIEnvironment":
    """All but the body, which is `wsgi.input`."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        # Granian has decoded it; WSGI wants each byte as a character.
        "PATH_INFO": wsgi_text(scope.path),
        "QUERY_STRING": scope.query_string,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": scope.server.rpartition(":")[2],
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "REMOTE_ADDR": scope.client.rpartition(":")[0],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        # A body without a length ends all the same.
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in headers:
        key = variable(name)
        if key in environ:
            # One list that came in several lines (RFC 9110, 5.3).
            value = f"{environ[key]},{value}"
        if key:
            environ[key] = value
    if scope.authority and "HTTP_HOST" not in environ:
        environ["HTTP_HOST"] = scope.authority
    return environ


def wsgi_text(text: str) -> str:
    return text if text.isascii() else text.encode(errors="replace").decode("latin-1")


# A client may invent names: what is kept is bounded.
@lru_cache(maxsize=512)
def variable(name: str) -> str:
    """The variable of a header; empty for a name that could pass for another's (`X_Y` for `X-Y`)."""
    if "_" in name:
        return ""
    key = name.upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
