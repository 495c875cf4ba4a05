"""Webhooks from a whole farm to a real receiver, embedded and against real servers."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from penstock import InvalidInput, Submission
from penstock.webhooks import verify as client_verify
from standardwebhooks.webhooks import Webhook as Library

from storage import keys
from storage.deliveries import NEW_AT_ONCE, Deliveries, Delivery
from storage.webhooks import Endpoints
from tasks.message import VERSION, Message, Webhook, new_id
from tasks.publisher import Publisher
from tasks.ticket import Outgoing
from tasks.webhooks.schedule import DELAYS_S
from tests.farm.harness import Farm, submit_all
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
    """The body of what went to a job's own URL, once the public library has found its signature right."""
    return verify_with(receiver, Endpoints(farm.redis).default(tenant(farm)).signing(0)[0], number)


def verify_with(receiver: Receiver, secret: str, number: int = 0) -> Any:
    got = receiver.received[number]
    return Library(secret).verify(got.body, dict(got.headers))


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


def test_job_pushed_straight_to_the_queue_is_told_of_as_well(farm: Farm, receiver: Receiver) -> None:
    message = Message(
        v=VERSION, id=new_id(), model="echo", version="1", tenant=tenant(farm),
        inputs=msgspec.Raw(msgspec.json.encode({"x": X})), webhook=Webhook(receiver.url()),
    )  # fmt: skip
    publisher = Publisher(farm.settings.queue_url, deadline_s=5, queues=lambda: [message.queue])
    try:
        assert publisher.publish([Outgoing(message.queue, message.id, message.encode())]) == [None]
    finally:
        publisher.close()
    settled(farm, message.id)
    assert verify(farm, receiver)["data"]["id"] == message.id


def test_killed_orchestrator_delivers_in_the_end_under_the_same_id(farm: Farm, receiver: Receiver) -> None:
    receiver.respond = receiver.hang
    job = submit(farm, webhook=receiver.url())
    farm.until(lambda: receiver.received, "the receiver was asked")
    farm.kill("orchestrator")
    receiver.respond = lambda _: Response()
    (delivery,) = deliveries(farm, job)
    assert delivery.state == "pending"
    # What the dead one held is free once its lease is over; and so is its lock.
    farm.redis.delete(keys.sending(delivery.target), keys.sending(delivery.tenant), keys.lock("webhooks"))
    send_now(farm, delivery)
    farm.start("orchestrator")
    assert settled(farm, job).sendings == 2
    assert {one.id for one in receiver.received} == {delivery.id}
    assert len(receiver.received) == 2
    verify(farm, receiver, -1)


def test_job_that_ends_while_no_orchestrator_runs_is_told_of_later(farm: Farm, receiver: Receiver) -> None:
    farm.stop("orchestrator")
    with farm.client() as client:
        job = client.jobs.submit("echo", {"x": X}, webhook=receiver.url(), wait_s=30)
        assert (job.status, client.jobs.get(job.id).webhook_status) == ("succeeded", "pending")
    assert receiver.received == []
    farm.start("orchestrator")
    settled(farm, job.id)


def test_receiver_that_hangs_delays_no_other(farm: Farm, receiver: Receiver) -> None:
    """With many webhooks queued for the one, another gets its own while the first sendings there still hang."""
    with receiving() as hanging:
        hanging.respond = hanging.hang
        many = [Submission(model="echo", inputs={"x": X}, webhook=hanging.url()) for _ in range(100)]
        with farm.client() as client:
            submit_all(client, many)
        farm.until(lambda: hanging.received, "the hanging receiver was asked")
        prompt = [submit(farm, webhook=receiver.url(f"/{number}")) for number in range(20)]
        for job in prompt:
            settled(farm, job)
        # Nobody has given up there yet, and only a few are being sent.
        assert 1 <= len(hanging.received) <= NEW_AT_ONCE
    assert len(receiver.received) == 20


def test_endpoint_hears_of_start_and_end_with_both_secrets_during_a_rotation(farm: Farm, receiver: Receiver) -> None:
    with farm.client() as client:
        made = client.webhooks.create(receiver.url("/all"), events=["job.started", "job.completed"])
        rotated = client.webhooks.rotate(made.id)
        try:
            job = submit(farm)
            farm.until(lambda: len(receiver.at("/all")) >= 2, "start and end were told")
        finally:
            client.webhooks.delete(made.id)
    events = [one for one in receiver.at("/all") if one.json["data"]["id"] == job]
    assert {one.json["type"] for one in events} == {"job.started", "job.completed"}
    for one in events:
        for secret in (made.secret, rotated.secret):
            assert client_verify(one.headers, one.body, secret or "")["data"]["id"] == job


def test_gone_disables_the_endpoint_and_enabled_again_it_can_be_redelivered(farm: Farm, receiver: Receiver) -> None:
    receiver.respond = lambda _: Response(410)
    with farm.client() as client:
        made = client.webhooks.create(receiver.url())
        try:
            job = submit(farm)
            settled(farm, job, "disabled")
            assert client.webhooks.get(made.id).disabled_reason == "gone"
            assert client.jobs.get(job).webhook_status == "failed"
            receiver.respond = lambda _: Response()
            client.webhooks.enable(made.id)
            client.webhooks.redeliver(job)
            settled(farm, job)
            assert client.jobs.get(job).webhook_status == "delivered"
        finally:
            client.webhooks.delete(made.id)
    assert len({one.id for one in receiver.received}) == 1


def test_exhaustion_is_recorded(farm: Farm, receiver: Receiver) -> None:
    receiver.respond = lambda _: Response(500)
    job = submit(farm, webhook=receiver.url())
    for number in range(1, len(DELAYS_S) + 2):
        (delivery,) = farm.until(
            lambda number=number: [  # type: ignore[misc]
                one for one in deliveries(farm, job) if one.sendings == number and one.attempts[-1].ended
            ],
            f"it was sent {number} times",
        )
        if number <= len(DELAYS_S):
            send_now(farm, delivery)
    assert delivery.state == "exhausted"
    with farm.client() as client:
        assert client.jobs.get(job).webhook_status == "failed"
        (shown,) = client.webhooks.deliveries(job)
    assert [one.status for one in shown.attempts] == [500] * 10


def test_trial_arrives_and_is_listed(farm: Farm, receiver: Receiver) -> None:
    with farm.client() as client:
        made = client.webhooks.create(receiver.url())
        try:
            client.webhooks.test(made.id)
            farm.until(lambda: [one.status for one in client.webhooks.deliveries(made.id)] == ["delivered"], "it came")
        finally:
            client.webhooks.delete(made.id)
    assert verify_with(receiver, made.secret or "")["type"] == "ping"


def test_submit_to_an_address_that_is_not_allowed_is_refused(farm: Farm) -> None:
    with pytest.raises(InvalidInput, match="no public address"):
        submit(farm, webhook="http://10.0.0.1/hook")
