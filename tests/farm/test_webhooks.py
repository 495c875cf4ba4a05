"""Webhooks from a whole farm to a real receiver, embedded and against real servers."""

from collections.abc import Iterator
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from storage import keys
from storage.deliveries import Deliveries, Delivery
from storage.webhooks import Endpoints
from tests.farm.harness import Farm
from tests.receiver import Receiver, Response, receiving

X = [float(n) for n in range(16)]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def submit(farm: Farm, **more: Any) -> str:
    with farm.client() as client:
        return client.jobs.submit("echo", {"x": X}, **more).id


def tenant(farm: Farm) -> str:
    return "acme" if farm.key else "local"


def deliveries(farm: Farm, job: str) -> list[Delivery]:
    return Deliveries(farm.redis).of(job)


def settled(farm: Farm, job: str, state: str = "delivered") -> Delivery:
    return farm.until(
        lambda: [one for one in deliveries(farm, job) if one.state == state], f"the webhook of {job} is {state}"
    )[0]


def verify(farm: Farm, receiver: Receiver, number: int = 0) -> Any:
    """The body, once the public library has found its signature right."""
    got = receiver.received[number]
    secret = Endpoints(farm.redis).default(tenant(farm)).signing(0)[0]
    return Webhook(secret).verify(got.body, dict(got.headers))


def send_now(farm: Farm, delivery: Delivery) -> None:
    """Let a delivery be due now that waits for its time."""
    farm.redis.zadd(keys.target(delivery.target), {delivery.id: 0})
    Deliveries(farm.redis).wake(delivery.target)


def test_end_of_a_job_is_told_once_and_signed(farm: Farm, receiver: Receiver) -> None:
    job = submit(farm, webhook=receiver.url())
    delivery = settled(farm, job)
    body = verify(farm, receiver)
    assert (body["type"], body["data"]["id"], body["data"]["status"]) == ("job.completed", job, "succeeded")
    assert body["data"]["outputs"] == {"y": [X]}
    assert [one.status for one in delivery.attempts] == [204]
    assert len(receiver.received) == 1
    with farm.client() as client:
        assert client.jobs.get(job).webhook_status == "delivered"


def test_receiver_that_is_down_is_told_once_it_is_up(farm: Farm, receiver: Receiver) -> None:
    receiver.respond = lambda _: Response(503, body=b"not now")
    job = submit(farm, webhook=receiver.url())
    (delivery,) = farm.until(
        lambda: [one for one in deliveries(farm, job) if one.attempts and one.attempts[-1].ended], "it was tried"
    )
    assert (delivery.state, delivery.attempts[-1].status, delivery.attempts[-1].answer) == ("pending", 503, "not now")
    receiver.respond = lambda _: Response()
    send_now(farm, delivery)
    settled(farm, job)
    assert len({one.id for one in receiver.received}) == 1
    assert len(receiver.received) >= 2
    verify(farm, receiver, -1)
