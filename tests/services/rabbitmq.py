"""A private RabbitMQ node, with an epmd of its own so that nothing stays behind."""

import base64
import hashlib
import json
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import amqp

from tests.services.ports import connect, free_port
from tests.services.process import Child, Service

#: Debian's wrapper in sbin insists on root or the user rabbitmq; the script behind it does not.
DEBIAN_SCRIPT = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
CONSUMER_TIMEOUT_MS = 86_400_000


@dataclass(frozen=True)
class RabbitMQ(Service):
    port: int

    @property
    def url(self) -> str:
        return self.vhost_url("/")

    def vhost_url(self, vhost: str) -> str:
        name = vhost if vhost == "/" else quote(vhost, safe="")
        return f"amqp://guest:guest@127.0.0.1:{self.port}/{name}"


def rabbitmq_service(folder: Path, *, vhosts: Sequence[str] = (), conf: Sequence[str] = ()) -> RabbitMQ:
    """A node with its data in `folder`, not started yet; `conf` are further lines of rabbitmq.conf."""
    folder.mkdir(parents=True, exist_ok=True)
    port, dist_port, epmd_port = free_port(), free_port(), free_port()
    write_config(folder, port=port, vhosts=["/", *vhosts], conf=conf)
    env = environment(folder, dist_port=dist_port, epmd_port=epmd_port)
    epmd = Child(
        ["epmd", "-address", "127.0.0.1", "-port", str(epmd_port)],
        log=folder / "epmd.log",
        probe=lambda: connect(epmd_port),
        env=env,
    )
    node = Child([script()], log=folder / "rabbitmq.log", probe=lambda: log_in(port), env=env, ready_s=90)
    return RabbitMQ(folder, (epmd, node), port)


def script() -> str:
    return str(DEBIAN_SCRIPT) if DEBIAN_SCRIPT.exists() else shutil.which("rabbitmq-server") or "rabbitmq-server"


def log_in(port: int) -> None:
    """Raises OSError or AMQPError until the node takes connections."""
    with amqp.Connection(f"127.0.0.1:{port}", "guest", "guest", connect_timeout=2, read_timeout=2, write_timeout=2):
        pass


def environment(folder: Path, *, dist_port: int, epmd_port: int) -> dict[str, str]:
    return {
        # The start script then execs the node, so that the child's pid is the node's.
        "RUNNING_UNDER_SYSTEMD": "1",
        "RABBITMQ_NODENAME": f"penstock{dist_port}@localhost",
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        "RABBITMQ_DIST_PORT": str(dist_port),
        "ERL_EPMD_PORT": str(epmd_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        # Erlang keeps its cookie there.
        "HOME": str(folder),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none",
    }


def write_config(folder: Path, *, port: int, vhosts: Sequence[str], conf: Sequence[str]) -> None:
    lines = [
        f"listeners.tcp.1 = 127.0.0.1:{port}",
        "log.console = true",
        "log.console.level = warning",
        "log.file = false",
        f"consumer_timeout = {CONSUMER_TIMEOUT_MS}",
        f"load_definitions = {folder / 'definitions.json'}",
        *conf,
    ]
    (folder / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
    (folder / "enabled_plugins").write_text("[].\n")
    (folder / "definitions.json").write_text(json.dumps(definitions(vhosts)))


def definitions(vhosts: Sequence[str]) -> dict[str, list[dict[str, str]]]:
    everything = {"user": "guest", "configure": ".*", "write": ".*", "read": ".*"}
    return {
        "users": [{"name": "guest", "password_hash": password_hash("guest"), "tags": "administrator"}],
        "vhosts": [{"name": vhost} for vhost in vhosts],
        "permissions": [{"vhost": vhost, **everything} for vhost in vhosts],
    }


def password_hash(password: str) -> str:
    """Salted SHA-256 as RabbitMQ's `rabbit_password_hashing_sha256` reads it."""
    salt = secrets.token_bytes(4)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
