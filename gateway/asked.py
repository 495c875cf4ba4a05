"""One request and its answer where Flask has no part in it: the quick ones, which are nearly all there are.

Flask's own time for a request (its contexts, its proxies, its responses) is more than a submission's whole way through
the gateway's own code (measured: 96 µs of CPU for an empty view, 60 for the rest).
"""

import random
import re
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

_REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class Asked:
    """A request: what it says, who asks, and when it came."""

    __slots__ = ("began", "environ", "id", "tenant")

    def __init__(self, environ: "WSGIEnvironment", *, id: str = "", tenant: str = "") -> None:
        self.began = time.perf_counter()
        self.environ = environ
        self.id = id or request_id(environ)
        #: Empty until it is known.
        self.tenant = tenant


class Reply(NamedTuple):
    """An answer whose body is there as a whole."""

    status: int
    body: bytes
    headers: dict[str, str]
    #: Empty where there is no body.
    content_type: str = "application/json"


def request_id(environ: "WSGIEnvironment") -> str:
    """The client's own `X-Request-Id` where it is a plain one, else a new one."""
    given: str = environ.get("HTTP_X_REQUEST_ID", "")
    # Not from os.urandom: that lets go of Python's lock, and a busy process waits long to get it back.
    return given if given and _REQUEST_ID.fullmatch(given) else f"{random.getrandbits(96):024x}"  # nosec B311 # no secret
