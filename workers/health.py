"""Whether this host's worker lives and has its models loaded: `python -m workers.health`, for a container's check."""

import os
import socket
import sys

from errors import PenstockError
from settings import Settings
from storage.connection import connect
from storage.workers import Workers, WorkerStatus


def fault(workers: list[WorkerStatus], *, host: str) -> str | None:
    """What is wrong with the workers of `host`, or None. A model that failed is reported elsewhere: others serve."""
    ours = [worker for worker in workers if f"-{host}-" in worker.name]
    if not ours:
        return "no worker of this host has been heard of"
    statuses = [status for worker in ours for status in worker.models]
    # A new version that loads beside one that serves is no fault.
    served = {status.model for status in statuses if status.state in ("ready", "draining")}
    loading = [status.model for status in statuses if status.state == "loading" and status.model not in served]
    return f"loading {', '.join(loading)}" if loading else None


def main() -> int:
    try:
        client = connect(Settings.from_env(os.environ).store_url)
        found = fault(Workers(client).all(), host=socket.gethostname())
        client.close()
    except PenstockError as error:
        found = error.detail
    print(found or "ready")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
