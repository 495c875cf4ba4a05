"""Free loopback ports that stay free between a server's stop and its next start."""

import random
import socket

#: Below Linux's ephemeral range (32768 and up), so that no outgoing connection takes a stopped server's port.
RANGE = range(20000, 32000)

_given: set[int] = set()


def free_port() -> int:
    """A port nobody listens on and this process has not given away; raises RuntimeError when none is found."""
    for _ in range(1000):
        port = random.choice(RANGE)
        if port not in _given and is_free(port):
            _given.add(port)
            return port
    raise RuntimeError(f"no free port between {RANGE.start} and {RANGE.stop}")


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def connect(port: int) -> None:
    """Raises OSError while nobody accepts connections on `port`."""
    socket.create_connection(("127.0.0.1", port), timeout=1).close()
