"""Serves the plain app with granian, as Penstock's gateway is served: `python -m bench.plain.serve PORT`."""

import os
import sys

from granian import Granian
from granian.constants import Interfaces
from granian.log import LogLevels

if __name__ == "__main__":
    Granian(
        "bench.plain.web:app",
        interface=Interfaces.WSGI,
        address="127.0.0.1",
        port=int(sys.argv[1]),
        workers=int(os.environ.get("PLAIN_PROCESSES", "1")),
        blocking_threads=int(os.environ.get("PLAIN_THREADS", "16")),
        backpressure=1024,
        websockets=False,
        log_level=LogLevels.warning,
    ).serve()
