"""What each kind of process may do at RabbitMQ (https://www.rabbitmq.com/docs/access-control), and at Redis.

RabbitMQ asks for `configure` on what is declared, for `write` on where something is published or bound to, and for
`read` on what is consumed or bound from. Declaring a queue that has a dead-letter exchange takes `read` on the queue
and `write` on the exchange; binding one to the jobs' exchange takes the right to read its routing key there.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from storage import roles
from tasks.app import CELERY_EXCHANGE, ORCHESTRATOR_QUEUE, SCORING_QUEUE, WEBHOOK_QUEUE, WORKER_QUEUE
from tasks.message import LANES
from tasks.topology import DEAD_EXCHANGE, DEAD_QUEUE, EXCHANGE, REPLY_EXCHANGE

#: Lanes: <pool>.<model>.<version>.<lane>.
_LANE = rf"[A-Za-z0-9][A-Za-z0-9_-]*\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.({'|'.join(LANES)})"
#: Queues that the broker names.
_OWN = r"^amq\.gen-[A-Za-z0-9_-]+$"
#: What Celery's tasks are published to: the exchange without a name.
_DEFAULT_EXCHANGE = "amq.default"


def exactly(*names: str, lanes: bool = False) -> str:
    """A pattern for these names alone."""
    parts = [*(name.replace(".", r"\.") for name in dict.fromkeys(names)), *([_LANE] if lanes else [])]
    return f"^({'|'.join(parts)})$" if parts else "^$"


@dataclass(frozen=True, kw_only=True)
class Permissions:
    """Patterns of names, as `rabbitmqctl set_permissions` takes them."""

    configure: str = "^$"
    write: str = "^$"
    read: str = "^$"
    #: Routing keys that may be published to the jobs' exchange (`set_topic_permissions`).
    topic: str = "^$"

    @property
    def bound(self) -> str:
        """Routing keys that queues may be bound by."""
        return exactly(lanes=True) if EXCHANGE.replace(".", r"\.") in self.read else "^$"


_TASKS = (ORCHESTRATOR_QUEUE, WEBHOOK_QUEUE, SCORING_QUEUE)
_JOBS = (EXCHANGE, DEAD_EXCHANGE, DEAD_QUEUE)
BROKER: Mapping[str, Permissions] = {
    "gateway": Permissions(
        configure=exactly(*_JOBS, lanes=True), write=exactly(*_JOBS, lanes=True), read=exactly(*_JOBS, lanes=True),
        topic=exactly(lanes=True),
    ),
    "worker": Permissions(
        configure=exactly(*_JOBS, REPLY_EXCHANGE, CELERY_EXCHANGE, WORKER_QUEUE, lanes=True),
        write=exactly(*_JOBS, REPLY_EXCHANGE, WORKER_QUEUE, lanes=True),
        read=exactly(*_JOBS, CELERY_EXCHANGE, WORKER_QUEUE, lanes=True),
    ),
    "orchestrator": Permissions(
        configure=exactly(*_JOBS, CELERY_EXCHANGE, *_TASKS),
        write=exactly(*_JOBS, _DEFAULT_EXCHANGE, *_TASKS),
        read=exactly(*_JOBS, CELERY_EXCHANGE, *_TASKS),
        topic=exactly(lanes=True),
    ),
    # Its queues for answers are named by the broker and its connection's own: no producer can read another's.
    "producer": Permissions(
        configure=_OWN, write=f"{exactly(EXCHANGE)}|{_OWN}", read=f"{exactly(REPLY_EXCHANGE)}|{_OWN}",
        topic=exactly(lanes=True),
    ),
    "monitor": Permissions(),
    "operator": Permissions(
        configure=exactly(*_JOBS, REPLY_EXCHANGE, lanes=True), write=exactly(*_JOBS, lanes=True),
        read=exactly(*_JOBS, lanes=True), topic=exactly(lanes=True),
    ),
}  # fmt: skip
#: RabbitMQ's tags: what a role sees of the management interface.
TAGS = {"monitor": "monitoring"}


def as_data() -> dict[str, dict[str, object]]:
    """Every role's permissions as plain data."""
    return {
        role: {
            "rabbitmq": {
                "user": f"penstock-{role}",
                "tags": TAGS.get(role, ""),
                "bound": permissions.bound,
                **msgspec.to_builtins(permissions),
            },
            "redis": {"user": f"penstock-{role}", "rules": roles.ROLES[role].rules()},
        }
        for role, permissions in BROKER.items()
    }


def as_text(vhost: str = "/") -> str:
    """Commands for RabbitMQ and lines for Redis' `aclfile`, the passwords to be put in."""
    lines = ["# RabbitMQ"]
    for role, one in BROKER.items():
        user = f"penstock-{role}"
        lines += [
            f"rabbitmqctl add_user {user} PASSWORD",
            f"rabbitmqctl set_permissions -p {vhost} {user} '{one.configure}' '{one.write}' '{one.read}'",
            f"rabbitmqctl set_topic_permissions -p {vhost} {user} {EXCHANGE} '{one.topic}' '{one.bound}'",
        ]
        if role in TAGS:
            lines.append(f"rabbitmqctl set_user_tags {user} {TAGS[role]}")
    return "\n".join([*lines, "", "# Redis: its aclfile", *map(roles.acl_line, BROKER)])
