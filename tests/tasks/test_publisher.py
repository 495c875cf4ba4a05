"""The only way into the broker, against real RabbitMQ: confirmed, or an error in time."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kombu import Connection, Queue

from errors import BrokerUnavailable
from tasks.message import new_id
from tasks.publisher import Publisher
from tasks.ticket import Outgoing
from tasks.topology import DEAD_QUEUE, depth, lane_queue
from tests.chaos.servers import control
from tests.services.fixtures import require_servers
from tests.services.rabbitmq import RabbitMQ, rabbitmq_service

pytestmark = pytest.mark.service

LANE = "cpu.pub.1.normal"


def outgoing(count: int, queue: str = LANE) -> list[Outgoing]:
    return [Outgoing(queue, new_id(), b"{}") for _ in range(count)]


def publish_once_it_is_back(publisher: Publisher) -> Exception | None:
    """A broker that was killed answers some seconds before its queues have a leader again."""
    for _ in range(5):
        (error,) = publisher.publish(outgoing(1))
        if error is None:
            break
    return error


@pytest.fixture
def publisher(broker_url: str) -> Iterator[Publisher]:
    publisher = Publisher(broker_url, deadline_s=4, queues=lambda: [LANE])
    yield publisher
    publisher.close()


def test_confirmed_messages_lie_in_their_queue(publisher: Publisher, broker_url: str) -> None:
    with Connection(broker_url) as connection, connection.channel() as channel:
        lane_queue(LANE)(channel).declare()
        channel.queue_purge(LANE)
        assert publisher.publish(outgoing(300)) == [None] * 300
        assert depth(connection, LANE) == 300


def test_threads_share_one_connection_and_each_gets_its_own_answer(publisher: Publisher) -> None:
    answers: dict[int, list[Exception | None]] = {}

    def publish(n: int) -> None:
        answers[n] = publisher.publish(outgoing(3, LANE if n % 2 else "cpu.nobody.1.normal"))

    threads = [threading.Thread(target=publish, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(answers[n] == [None] * 3 for n in range(1, 20, 2))
    assert all(isinstance(error, BrokerUnavailable) for n in range(0, 20, 2) for error in answers[n])


def test_message_for_a_queue_that_is_not_there_is_refused(publisher: Publisher) -> None:
    (error,) = publisher.publish(outgoing(1, "cpu.unknown.1.normal"))
    assert isinstance(error, BrokerUnavailable)
    assert "no queue 'cpu.unknown.1.normal'" in error.detail


def test_lane_that_comes_later_is_declared_before_its_first_message(broker_url: str) -> None:
    new, lanes = "cpu.later.2.normal", [LANE]
    publisher = Publisher(broker_url, deadline_s=5, queues=lambda: lanes)
    with Connection(broker_url) as connection:
        assert publisher.publish(outgoing(1)) == [None]
        lanes.append(new)
        assert publisher.publish([*outgoing(1), *outgoing(2, new)]) == [None] * 3
        assert depth(connection, new) == 2
        with connection.channel() as channel:
            channel.queue_delete(new)
    publisher.close()


def test_full_queue_says_so(broker_url: str, publisher: Publisher) -> None:
    full = "cpu.full.1.normal"
    with Connection(broker_url) as connection, connection.channel() as channel:
        template = lane_queue(full)
        Queue(full, template.exchange, full, queue_arguments={**template.queue_arguments, "x-max-length": 1})(
            channel
        ).declare()
        channel.queue_purge(full)
        answers = [publisher.publish(outgoing(1, full))[0] for _ in range(20)]
    # A quorum queue begins to refuse a little after its limit.
    assert answers[0] is None
    assert isinstance(answers[-1], BrokerUnavailable)
    assert "its queue is full" in answers[-1].detail


@pytest.fixture(scope="module")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    """A broker of our own, to be killed."""
    require_servers()
    service = rabbitmq_service(Path(tmp_path_factory.mktemp("rabbit")))
    service.start()
    yield service
    service.stop()


def test_broker_that_is_away_is_an_error_within_the_deadline_and_is_found_again(rabbitmq: RabbitMQ) -> None:
    publisher = Publisher(rabbitmq.url, deadline_s=2, queues=lambda: [LANE])
    assert publisher.publish(outgoing(1)) == [None]
    # Stopped, not killed: RabbitMQ 3.10 forgets the leader of a quorum queue that was declared in the last seconds.
    rabbitmq.stop()
    began = time.monotonic()
    (error,) = publisher.publish(outgoing(1))
    assert isinstance(error, BrokerUnavailable)
    assert time.monotonic() - began < 3
    rabbitmq.start()
    assert publish_once_it_is_back(publisher) is None
    publisher.close()


def test_broker_under_a_memory_alarm_is_an_error_at_once_and_is_found_again(rabbitmq: RabbitMQ) -> None:
    publisher = Publisher(rabbitmq.url, deadline_s=30, queues=lambda: [LANE])
    assert publish_once_it_is_back(publisher) is None
    control(rabbitmq, "set_vm_memory_high_watermark", "0.00001")
    began = time.monotonic()
    errors = [publisher.publish(outgoing(1))[0] for _ in range(3)]
    assert time.monotonic() - began < 15
    control(rabbitmq, "set_vm_memory_high_watermark", "0.4")
    for error in errors:
        assert isinstance(error, BrokerUnavailable)
        assert "short of memory or disk" in error.detail
        assert error.retry_after_s
    assert publish_once_it_is_back(publisher) is None
    publisher.close()


def test_broker_that_answers_nothing_is_an_error_within_the_deadline(rabbitmq: RabbitMQ) -> None:
    publisher = Publisher(rabbitmq.url, deadline_s=1, queues=lambda: [LANE])
    assert publish_once_it_is_back(publisher) is None
    rabbitmq.pause()
    began = time.monotonic()
    (error,) = publisher.publish(outgoing(1))
    assert isinstance(error, BrokerUnavailable)
    assert time.monotonic() - began < 2
    rabbitmq.resume()
    publisher.close()


def test_dead_letters_have_a_queue(publisher: Publisher, broker_url: str) -> None:
    publisher.publish(outgoing(1))
    with Connection(broker_url) as connection, connection.channel() as channel:
        assert channel.queue_declare(DEAD_QUEUE, passive=True).queue == DEAD_QUEUE


def test_message_after_the_end_is_an_error_at_once(broker_url: str) -> None:
    publisher = Publisher(broker_url, deadline_s=4, queues=lambda: [LANE])
    publisher.close()
    (error,) = publisher.publish(outgoing(1))
    assert isinstance(error, BrokerUnavailable)
    assert error.detail == "this process is ending"


def test_many_groups_keep_their_order(publisher: Publisher, broker_url: str) -> None:
    messages = outgoing(1500)
    with Connection(broker_url) as connection, connection.channel() as channel:
        lane_queue(LANE)(channel).declare()
        channel.queue_purge(LANE)
        assert publisher.publish(messages) == [None] * 1500
        found = [channel.basic_get(LANE, no_ack=True) for _ in messages]
    assert [one.properties["message_id"] for one in found] == [message.id for message in messages]
