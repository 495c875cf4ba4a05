from collections.abc import Iterator

import pytest
from penstock import Penstock
from penstock.transport import Transport

from tests.client.desk import Desk


class Clock:
    """Time that passes only in sleeps; `pauses` are their lengths."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client(desk: Desk, clock: Clock) -> Iterator[Penstock]:
    """A client of the desk whose time is the test's."""
    with Penstock(desk.url, "a-key", timeout_s=5) as client:
        transport = client._transport
        assert isinstance(transport, Transport)
        transport.clock, transport.sleep = clock, clock.sleep
        yield client
