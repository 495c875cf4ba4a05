"""The gateway's process: granian's RSGI server around the application, which only its children load."""

import logging
import resource
import time

from granian import Granian
from granian.constants import Interfaces, Loops
from granian.http import HTTP1Settings, HTTP2Settings
from granian.log import LogLevels

from errors import StoreUnavailable
from gateway.authentication import require_keys
from settings import Settings
from storage.access import Access
from storage.connection import connect

log = logging.getLogger(__name__)

#: Connections that a process holds at once, idle ones included. Granian calls it backpressure: beyond it a new
#: connection is not looked at until another ends, so a few pools of idle clients must never reach it.
CONNECTIONS = 8192
#: Milliseconds that a request's headers may take, and that a silent HTTP/2 connection is left alone.
HEAD_MS = 15_000
#: Bytes of headers that HTTP/2 takes at all; by default 16 MiB.
HTTP2_HEADERS = 128 * 1024
#: Seconds that a request may go on once the process was told to end; long polls are let go at once.
GRACE_S = 10
#: Seconds that a starting gateway waits for a store that is starting too.
STORE_S = 10.0


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; raises OperatorError where the farm may not be served like this."""
    check(settings)
    allow_connections()
    logging.getLogger("_granian").addFilter(is_news)
    server = Granian(
        "gateway.app:from_environment",
        factory=True,
        interface=Interfaces.RSGI,
        address=settings.host,
        port=settings.port,
        workers=settings.gateway_processes,
        loop=Loops.uvloop,
        backlog=1024,
        backpressure=CONNECTIONS,
        websockets=False,
        http1_settings=HTTP1Settings(header_read_timeout=HEAD_MS),
        http2_settings=HTTP2Settings(max_headers_size=HTTP2_HEADERS, keep_alive_interval=HEAD_MS),
        respawn_failed_workers=True,
        workers_kill_timeout=GRACE_S,
        log_level=LogLevels.warning,
        log_dictconfig=LOGGING,
    )
    log.info("gateway starts", extra={"address": f"http://{settings.host}:{settings.port}"})
    server.serve()


def check(settings: Settings) -> None:
    """Raises what `require_keys` raises, and StoreUnavailable when the store does not come up in time."""
    client = connect(settings.store_url)
    deadline = time.monotonic() + STORE_S
    while True:
        try:
            require_keys(Access(client), settings)
            break
        except StoreUnavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
    client.close()


#: Granian configures logging again in each child: leave everything to the root logger, which `logs` sets up.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {},
    "handlers": {},
    "loggers": {"_granian": {"propagate": True}, "granian.access": {"propagate": True}},
}


def is_news(record: logging.LogRecord) -> bool:
    """False for granian's advice on the number of threads: ours wait rather than compute."""
    return "Python threads" not in record.getMessage()


def allow_connections() -> None:
    """Raise the soft limit of open files, often 1024, as far as it may go and is of use."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * CONNECTIONS if hard == resource.RLIM_INFINITY else min(2 * CONNECTIONS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
