"""The gateway's process: granian's WSGI server around the application, which only its children load."""

import logging
import os

from granian import Granian
from granian.constants import Interfaces
from granian.log import LogLevels

from gateway.authentication import require_keys
from settings import Settings
from storage.access import Access
from storage.connection import connect

log = logging.getLogger(__name__)

#: Seconds that a request may go on once the process was told to end; long polls are let go at once.
GRACE_S = 10


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; raises OperatorError where the farm may not be served like this."""
    client = connect(settings.store_url)
    require_keys(Access(client), settings)
    client.close()
    forget_cgi_names()
    server = Granian(
        "gateway.app:from_environment",
        factory=True,
        interface=Interfaces.WSGI,
        address=settings.host,
        port=settings.port,
        workers=settings.gateway_processes,
        blocking_threads=settings.gateway_threads,
        blocking_threads_idle_timeout=60,
        backlog=1024,
        # Requests beyond the threads wait in granian, which costs next to nothing, instead of in the socket.
        backpressure=max(settings.gateway_threads, 128),
        websockets=False,
        respawn_failed_workers=True,
        workers_kill_timeout=GRACE_S,
        log_level=LogLevels.warning,
        log_dictconfig=LOGGING,
    )
    log.info("gateway starts", extra={"address": f"http://{settings.host}:{settings.port}"})
    server.serve()


#: Granian configures logging again in each child: leave everything to the root logger, which `logs` sets up.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {},
    "handlers": {},
    "loggers": {"_granian": {"propagate": True}, "granian.access": {"propagate": True}},
}


def forget_cgi_names() -> None:
    """Granian lays each request over this process's environment: a variable must not pass for a header."""
    for name in list(os.environ):
        if name.startswith(("HTTP_", "CONTENT_", "REMOTE_", "wsgi.")):
            del os.environ[name]
