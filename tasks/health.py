"""Whether an orchestrator serves: `python -m tasks.health`, for a container's check.

It is asked by its queue's consumers, so that one that lost its connection to the broker does not pass.
"""

import os
import sys

from kombu import Connection

from errors import PenstockError
from settings import Settings
from tasks.app import ORCHESTRATOR_QUEUE

#: Seconds to wait for the broker.
TIMEOUT_S = 3


def fault(broker_url: str) -> str | None:
    """What is wrong, or None."""
    connection = Connection(broker_url, connect_timeout=TIMEOUT_S)
    try:
        with connection, connection.channel() as channel:
            consumers = channel.queue_declare(ORCHESTRATOR_QUEUE, passive=True).consumer_count
    except (OSError, *connection.connection_errors, *connection.channel_errors) as error:
        return f"the broker does not answer for its queue: {error}"
    return None if consumers else "no orchestrator consumes its queue"


def main() -> int:
    try:
        found = fault(Settings.from_env(os.environ).queue_url)
    except PenstockError as error:
        found = error.detail
    print(found or "ready")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
