"""A private Redis with an append-only file."""

from dataclasses import dataclass
from pathlib import Path

import redis

from tests.services.ports import free_port
from tests.services.process import Child, Service

#: Numbered databases, so that each parallel test process has one of its own.
DATABASES = 32


@dataclass(frozen=True)
class Redis(Service):
    port: int

    @property
    def url(self) -> str:
        return self.db_url(0)

    def db_url(self, number: int) -> str:
        return f"redis://127.0.0.1:{self.port}/{number}"


def redis_service(folder: Path, *, options: tuple[str, ...] = ()) -> Redis:
    """A Redis with its data in `folder`, not started yet; `options` as on redis-server's command line."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    client = redis.Redis(port=port, socket_timeout=1, socket_connect_timeout=1)
    child = Child(
        ["redis-server", "--port", str(port), "--bind", "127.0.0.1", *server_options(folder), *options],
        log=folder / "redis.log",
        probe=lambda: probe(client),
    )
    return Redis(folder, (child,), port)


def server_options(folder: Path) -> list[str]:
    """Options that Redis and Valkey share: data in `folder`, every write in the append-only file."""
    return [
        "--dir", str(folder), "--databases", str(DATABASES), "--save", "", "--appendonly", "yes",
        "--hash-max-listpack-value", "1024",
    ]  # fmt: skip


def probe(client: redis.Redis) -> None:
    """Raises RedisError until the server has loaded its data and answers."""
    try:
        client.ping()
    finally:
        client.close()
