"""What is queued by its record and in no queue is published anew, and nothing else is."""

from collections.abc import Iterator

import msgspec
import pytest
import redis
from kombu import Connection

from storage import keys
from storage.job import Status
from storage.jobs import JobStore, Outcome, Return, Verdict, Want
from storage.workers import Workers, WorkerStatus
from tasks.message import VERSION, Message
from tasks.publisher import Publisher
from tasks.reaper import ORPHAN_S, STUCK_S, Reaper
from tasks.ticket import Outgoing
from tasks.topology import depth
from tests.services.valkey import Valkey

MESSAGE = Message(v=VERSION, id="job_0", model="echo", version="1", inputs=msgspec.Raw(b"{}"), tenant="acme")
WAIT_MS = round(STUCK_S * 1000)


class Clock:
    ms = 1_000_000

    def __call__(self) -> int:
        return self.ms


class Shop:
    """A lane with its records and messages, and a hand that does what gateways and workers would."""

    def __init__(self, store: "redis.Redis", url: str) -> None:
        self.clock = Clock()
        self.store = store
        self.jobs = JobStore(store, now_ms=self.clock)
        self.publisher = Publisher(url, deadline_s=2, queues=lambda: [MESSAGE.queue])
        self.workers = Workers(store)
        self.reaper = Reaper(self.jobs, self.publisher, url, self.workers)
        self._url = url

    def submit(self, *ids: str, published: bool = True) -> None:
        for id in ids:
            message = msgspec.structs.replace(MESSAGE, id=id)
            body = message.encode()
            self.jobs.create(message.record(body, now_ms=self.clock.ms))
            if published:
                assert self.publisher.publish([Outgoing(message.queue, id, body)]) == [None]

    def claim(self, id: str, holder: str = "w1/1", *, redelivered: bool = False) -> Verdict:
        want = Want(id, MESSAGE.queue, redelivered, holder)
        (answer,) = self.jobs.claim_all([want], device="cpu:0", losses_allowed=1, lost_error=b"{}")
        return answer.verdict

    def later(self, ms: int = WAIT_MS) -> None:
        self.clock.ms += ms

    def depth(self) -> int:
        with Connection(self._url) as connection:
            return depth(connection, MESSAGE.queue)

    def status(self, id: str) -> Status:
        job = self.jobs.get(id)
        assert job is not None
        return job.status


@pytest.fixture
def shop(store: "redis.Redis", valkey: Valkey) -> Iterator[Shop]:
    shop = Shop(store, valkey.queue_url)
    yield shop
    shop.publisher.close()


def test_job_in_no_queue_is_published_anew_once_a_while(shop: Shop) -> None:
    shop.submit("job_1", published=False)
    assert shop.reaper.reap() == 0
    shop.later()
    assert shop.reaper.reap() == 1
    assert shop.depth() == 1
    shop.later()
    assert shop.reaper.reap() == 0, "its message lies in the queue"


def test_job_that_others_passed_has_no_message_though_the_queue_is_not_empty(shop: Shop) -> None:
    shop.submit("lost", published=False)
    shop.submit("early")
    shop.later(WAIT_MS + 1)
    shop.submit("late", "last")
    shop.claim("early")
    assert shop.reaper.reap() == 0, "what was claimed had been put there at the same time"
    shop.claim("late")
    before = shop.depth()
    assert shop.reaper.reap() == 1
    assert shop.depth() == before + 1
    assert shop.reaper.reap() == 0, "it stands behind the others now"


def test_backlog_that_nobody_has_come_to_is_left_alone(shop: Shop) -> None:
    shop.submit(*(f"job_{n}" for n in range(20)))
    shop.later(100 * WAIT_MS)
    assert shop.reaper.reap() == 0
    assert shop.depth() == 20


def test_sender_whose_clock_is_ahead_makes_nobody_look_lost(shop: Shop) -> None:
    shop.submit("job_1")
    shop.clock.ms += 600_000
    shop.submit("ahead")
    shop.clock.ms -= 600_000
    shop.claim("ahead")
    shop.later()
    assert shop.reaper.reap() == 0


def test_retry_that_waits_for_its_time_is_the_relays(shop: Shop) -> None:
    shop.submit("job_1", "job_2")
    shop.store.delete(MESSAGE.queue)
    shop.claim("job_1")
    shop.jobs.requeue_all([Return(id="job_1", queue=MESSAGE.queue, token=1, not_before_ms=shop.clock.ms + 4 * WAIT_MS)])
    shop.later(2 * WAIT_MS)
    assert shop.reaper.reap() == 1, "job_2 alone"
    shop.later(4 * WAIT_MS)
    shop.store.delete(keys.DUE, MESSAGE.queue)
    assert shop.reaper.reap() == 2, "its entry in the due set was lost"


def test_second_message_of_a_job_that_runs_or_has_ended_is_dropped(shop: Shop) -> None:
    shop.submit("job_1")
    shop.store.delete(MESSAGE.queue)
    shop.later()
    assert shop.reaper.reap() == 1
    assert shop.claim("job_1") is Verdict.RUN
    assert shop.claim("job_1", "w2/2") is Verdict.DUPLICATE
    shop.jobs.finish_all([Outcome(id="job_1", queue=MESSAGE.queue, token=1, status=Status.SUCCEEDED)])
    assert shop.claim("job_1", "w2/3") is Verdict.DONE


def test_many_lost_messages_are_replaced_in_one_look(shop: Shop) -> None:
    shop.submit(*(f"job_{n:04}" for n in range(1200)), published=False)
    shop.later()
    assert shop.reaper.reap() == 1200
    assert shop.depth() == 1200


def test_id_without_a_record_waits_for_nothing(shop: Shop) -> None:
    shop.submit("job_1", published=False)
    shop.store.delete(keys.job("job_1"))
    shop.later()
    assert shop.reaper.reap() == 0
    assert shop.jobs.depths([MESSAGE.queue]) == [0]


def test_canceled_job_whose_worker_is_gone_ends(shop: Shop) -> None:
    shop.submit("job_1")
    shop.claim("job_1", "w1/1")
    job = shop.jobs.get("job_1")
    assert job is not None
    shop.jobs.cancel(job)
    shop.later(round(ORPHAN_S * 1000) + 1)
    shop.store.delete(MESSAGE.queue)
    assert shop.reaper.reap() == 0
    assert shop.status("job_1") is Status.CANCELED
    assert shop.jobs.in_flight("acme") == 0


def test_running_job_whose_worker_is_gone_and_whose_message_is_nowhere_runs_again(shop: Shop) -> None:
    shop.submit("job_1", "job_2")
    shop.workers.beat(WorkerStatus(name="w2", pool="cpu", started_ms=1, models=()), now_ms=shop.clock.ms)
    shop.claim("job_1", "w1/1")
    shop.claim("job_2", "w2/1")
    shop.store.delete(MESSAGE.queue)
    shop.later(round(ORPHAN_S * 1000) + 1)
    assert shop.reaper.reap(orphans=False) == 0
    assert shop.reaper.reap() == 1
    assert (shop.status("job_1"), shop.status("job_2")) == (Status.QUEUED, Status.RUNNING)
    job = shop.jobs.get("job_1")
    assert job is not None
    assert job.losses == 1
    assert shop.claim("job_1", "w2/2") is Verdict.RUN
