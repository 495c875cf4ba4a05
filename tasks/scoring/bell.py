"""Waits until a scoring's shard has ended, or its cancel was asked for: on a channel of its own, in one read."""

import time
from contextlib import suppress

from redis.exceptions import RedisError

from storage import keys
from storage.connection import Client


class Bell:
    """Of one scoring. What it misses, as while Redis is away, is found by looking all the same."""

    def __init__(self, client: Client, id: str) -> None:
        self._pubsub = client.pubsub(ignore_subscribe_messages=True)
        self._channel = keys.scoring_ended(id)
        with suppress(RedisError):
            self._pubsub.subscribe(self._channel)

    def wait(self, timeout_s: float) -> None:
        """Until it rings, `timeout_s` at most."""
        began = time.monotonic()
        try:
            if self._pubsub.get_message(timeout=timeout_s) is not None:
                # One look finds all that ended by now.
                while self._pubsub.get_message(timeout=0) is not None:
                    pass
        except (RedisError, RuntimeError):
            time.sleep(max(0.0, timeout_s - (time.monotonic() - began)))
            with suppress(RedisError):
                self._pubsub.subscribe(self._channel)

    def close(self) -> None:
        with suppress(RedisError):
            self._pubsub.close()
