"""Hears the store announce jobs' ends, straight from the server: when something ends, by the recorder's clock."""

import threading

import redis
from redis.exceptions import RedisError

from storage import keys
from tests.chaos.recorder import Recorder

#: Between tries to reach a store that is away, seconds.
PAUSE_S = 0.2


class Listener:
    def __init__(self, url: str, recorder: Recorder) -> None:
        # A connection of its own, with redis-py's usual patience.
        self._client = redis.Redis.from_url(url, socket_timeout=5)
        self._recorder = recorder
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        self._client.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with self._client.pubsub(ignore_subscribe_messages=True) as channel:
                    channel.subscribe(keys.DONE)
                    while not self._stop.is_set():
                        self._hear(channel.get_message(timeout=0.5))
            except (RedisError, OSError):
                self._stop.wait(PAUSE_S)

    def _hear(self, message: dict[str, bytes] | None) -> None:
        if message is not None:
            self._recorder.announce(message["data"].decode().split())
