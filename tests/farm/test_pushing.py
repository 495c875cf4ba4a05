"""Rows and jobs pushed straight to RabbitMQ by `penstock.push`, and what came of them collected, in order."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import amqp
import penstock
import pytest
from penstock import (
    AccessError,
    BrokerUnavailable,
    InvalidInput,
    InvalidJobInput,
    Pusher,
    QueueFull,
    Submission,
    UnknownModel,
)
from penstock.push import Progress

from tests.chaos.proxy import Link, Proxies
from tests.chaos.servers import control
from tests.farm.conftest import WAYS
from tests.farm.harness import Farm
from tests.services.rabbitmq import RabbitMQ

pytestmark = pytest.mark.parametrize("running", [WAYS[1]], indirect=True, scope="session")
ROWS = 10_000
NAME = "pusher/rabbitmq"


def broker(farm: Farm) -> RabbitMQ:
    found = farm.services["broker"]
    assert isinstance(found, RabbitMQ)
    return found


def urls(farm: Farm, port: int = 0) -> dict[str, Any]:
    address = f"amqp://guest:guest@127.0.0.1:{port or broker(farm).port}/%2F"
    return {"broker": address, "redis": farm.settings.redis_url, "tenant": "acme"}


def table(count: int) -> Iterator[dict[str, Any]]:
    return ({"x": [float(number)] * 16} for number in range(count))


@pytest.fixture
def pusher(farm: Farm) -> Iterator[Pusher]:
    with farm.client() as client, Pusher(**urls(farm), client=client) as made:
        yield made


@pytest.fixture
def proxy(farm: Farm) -> Iterator[Proxies]:
    with closing(Proxies(Link(NAME, broker(farm).port, amqp=True))) as made:
        made.start()
        yield made


def test_ten_thousand_rows_come_back_in_their_order(farm: Farm) -> None:
    seen: list[Progress] = []
    rows = list(penstock.push("echo", table(ROWS), version="1", progress=seen.append, **urls(farm)))
    assert [row.number for row in rows] == list(range(ROWS))
    assert [row.outputs for row in rows] == [{"y": one["x"]} for one in table(ROWS)]
    assert seen[-1] == Progress(pushed=ROWS, done=ROWS, failed=0)
    with farm.client() as client:
        job = client.jobs.get(rows[-1].job_id)
        assert (job.status, job.priority, job.attempt) == ("succeeded", "low", 1)


def test_connection_that_breaks_in_the_middle_loses_and_repeats_nothing(
    farm: Farm, proxy: Proxies, tmp_path: Path
) -> None:
    book = tmp_path / "book"
    link = proxy.links[NAME]
    own = Pusher(**urls(farm, link.port), window=8, patience_s=6)
    steps = [(200, proxy.tear), (400, proxy.reset), (600, proxy.forget)]
    pushed = 0

    def interfere(progress: Progress) -> None:
        """Once so many rows are done the confirm of what was just pushed vanishes, and then the network breaks."""
        nonlocal pushed
        fresh, pushed = progress.pushed > pushed, progress.pushed
        if not (fresh and steps and progress.done >= steps[0][0]):
            return
        before, link.now.drops_confirms = link.dropped, True
        farm.until(lambda: link.dropped > before or not own._link.open, "a confirm vanished, or all had come")
        if link.dropped > before:
            steps.pop(0)[1](NAME)
        link.now.drops_confirms = False

    rows = ({"do": f"count {book}"} for _ in range(1200))
    with own:
        found = list(own.rows("trouble", rows, version="1", shard_rows=4, ahead=16, progress=interfere))
    assert not steps
    assert [row.number for row in found] == list(range(1200))
    assert {str(row.outputs) for row in found} == {str({"did": f"count {book}"})}
    assert len(book.read_text()) == 1200


def test_rows_are_collected_from_answers_in_a_queue_where_there_is_no_redis(farm: Farm, proxy: Proxies) -> None:
    address = urls(farm, proxy.links[NAME].port)["broker"]
    steps = [2000, 6000]

    def interfere(progress: Progress) -> None:
        # Both connections, of what goes out and of what comes back.
        while steps and progress.done >= steps[0]:
            steps.pop(0)
            proxy.reset(NAME)

    with Pusher(address, tenant="acme", window=8) as pusher:
        rows = list(pusher.rows("echo", table(ROWS), version="1", shard_rows=50, ahead=32, progress=interfere))
        job = pusher.submit("trouble", {"do": "invalid"}, version="1")
        with pytest.raises(InvalidJobInput):
            pusher.result(job, timeout_s=30)
    assert not steps
    assert [row.number for row in rows] == list(range(ROWS))
    assert [row.outputs for row in rows] == [{"y": one["x"]} for one in table(ROWS)]


def test_bad_row_fails_alone_and_the_run_goes_on(pusher: Pusher) -> None:
    rows = ({"do": "invalid" if number == 7 else f"row {number}"} for number in range(20))
    found = list(pusher.rows("trouble", rows, version="1"))
    assert [row.number for row in found if row.error] == [7]
    assert isinstance(found[7].error, InvalidJobInput)
    assert found[8].outputs == {"did": "row 8"}


def test_outputs_too_large_for_the_record_come_through_the_gateway(pusher: Pusher) -> None:
    [row] = pusher.rows("trouble", [{"do": "big"}], version="1")
    assert row.outputs == {"did": "x" * 100_000}


def test_run_that_is_pushed_again_under_its_name_runs_once(pusher: Pusher, tmp_path: Path) -> None:
    book = tmp_path / "book"
    for _ in range(2):
        rows = [{"do": f"count {book}"}] * 10
        found = list(pusher.rows("trouble", rows, version="1", shard_rows=5, run=f"again-{tmp_path.name}"))
        assert len(found) == 10
    assert len(book.read_text()) == 10


def test_run_whose_pusher_died_is_taken_over_by_another(
    farm: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.push_rows.AGAIN_S", 0.5)
    address, book = urls(farm)["broker"], tmp_path / "book"
    rows = [{"do": f"count {book}"}] * 40

    def dies(progress: Progress) -> None:
        if progress.pushed == len(rows):
            raise InterruptedError

    farm.stop("worker-cpu")
    run = f"over-{tmp_path.name}"
    with Pusher(address, tenant="acme") as first, pytest.raises(InterruptedError):
        list(first.rows("trouble", rows, version="1", shard_rows=4, run=run, progress=dies))
    with Pusher(address, tenant="acme") as second:
        found = second.rows("trouble", rows, version="1", shard_rows=4, run=run)
        # What the first one pushed runs first, and its answers are for a queue that is gone.
        farm.start("worker-cpu")
        assert [row.outputs for row in found] == [{"did": one["do"]} for one in rows]
    assert len(book.read_text()) == len(rows)


def test_jobs_are_pushed_under_ids_of_ones_own_and_read_later(farm: Farm, pusher: Pusher, tmp_path: Path) -> None:
    own = f"mine-{tmp_path.name}"
    assert pusher.submit("echo", {"x": [1.0] * 16}, version="1", job_id=own, metadata={"order": "A-17"}) == own
    asked = (("1", "one"), ("1", "invalid"), ("9", "nobody"))
    jobs: list[Submission] = [{"model": "trouble", "version": no, "inputs": {"do": word}} for no, word in asked]
    ids = pusher.submit_many(jobs)
    assert isinstance(ids[2], UnknownModel)
    assert pusher.result(own, timeout_s=30) == {"y": [[1.0] * 16]}
    one, invalid = pusher.results([str(id) for id in ids[:2]], timeout_s=30)
    assert one == {"did": ["one"]}
    assert isinstance(invalid, InvalidJobInput)
    with farm.client() as client:
        assert client.jobs.get(own).metadata == {"order": "A-17"}


def test_rows_for_which_there_is_no_queue_are_refused(pusher: Pusher) -> None:
    with pytest.raises(UnknownModel, match=r"no queue 'cpu\.echo\.9\.low'"):
        list(pusher.rows("echo", table(10), version="9"))


def test_row_with_other_names_is_told_by_its_number(pusher: Pusher) -> None:
    with pytest.raises(InvalidInput, match="row 3 "):
        list(pusher.rows("echo", [*table(3), {"z": 1}], version="1"))


def test_user_or_vhost_that_the_broker_does_not_know_is_told_at_once(farm: Farm) -> None:
    address = urls(farm)["broker"]
    for wrong, said in ((address.replace("guest:guest", "guest:wrong"), "password"), (address + "x", "vhost")):
        with Pusher(wrong, replies=False) as pusher, pytest.raises(AccessError, match=said):
            pusher.submit("echo", {"x": [1.0] * 16}, version="1")


def test_broker_that_is_away_or_mute_is_waited_for_no_longer_than_asked(farm: Farm, proxy: Proxies) -> None:
    address = urls(farm, proxy.links[NAME].port)["broker"]
    proxy.cut(NAME)
    with (
        Pusher(address, replies=False, patience_s=0.6) as pusher,
        pytest.raises(BrokerUnavailable, match="cannot be reached"),
    ):
        pusher.submit("echo", {"x": [1.0] * 16}, version="1")
    proxy.heal(NAME)
    proxy.links[NAME].now.drops_confirms = True
    with (
        Pusher(address, replies=False, patience_s=0.6) as pusher,
        pytest.raises(BrokerUnavailable, match="1 messages have no confirm"),
    ):
        pusher.submit("echo", {"x": [1.0] * 16}, version="1")


def test_broker_without_memory_says_so_and_goes_on_afterwards(farm: Farm) -> None:
    control(broker(farm), "set_vm_memory_high_watermark", "0.000001")
    try:
        with (
            Pusher(**urls(farm), patience_s=5) as pusher,
            pytest.raises(BrokerUnavailable, match="takes no messages"),
        ):
            # The first message makes the broker say that it takes none.
            pusher.submit_many({"model": "echo", "version": "1", "inputs": one} for one in table(4))
    finally:
        control(broker(farm), "set_vm_memory_high_watermark", "0.4")
    with Pusher(**urls(farm)) as pusher:
        assert len(list(pusher.rows("echo", table(4), version="1"))) == 4


def test_full_queue_is_told_after_a_while_and_nothing_is_lost_when_it_is_emptied_before(farm: Farm) -> None:
    queue = "cpu.full.1.normal"
    arguments = {"x-queue-type": "quorum", "x-max-length": 1, "x-overflow": "reject-publish"}
    with closing(amqp.Connection(f"127.0.0.1:{broker(farm).port}", "guest", "guest")) as connection:
        connection.connect()
        channel = connection.channel()
        channel.queue_declare(queue, durable=True, auto_delete=False, arguments=arguments)
        channel.queue_bind(queue, "penstock.jobs", queue)
        jobs: list[Submission] = [{"model": "full", "version": "1", "inputs": {"n": number}} for number in range(8)]
        ids = [f"full-{number}" for number in range(8)]
        with Pusher(**urls(farm), patience_s=3) as pusher, pytest.raises(QueueFull, match="is full"):
            # The limit is a soft one: what is on its way already when it is reached is taken.
            [pusher.submit_many(jobs) for _ in range(9)]
        with Pusher(**urls(farm)) as pusher, ThreadPoolExecutor(1) as pool:
            pushed = pool.submit(pusher.submit_many, jobs, job_ids=ids)
            farm.until(lambda: pusher._link.open == 8, "all are on their way, and the queue is full")
            taken: list[str] = []
            tag = channel.basic_consume(
                queue, callback=lambda one: taken.append(json.loads(one.body)["id"]), no_ack=True
            )
            while not set(ids) <= set(taken):
                connection.drain_events(timeout=10)
            assert pushed.result(timeout=10) == ids
            channel.basic_cancel(tag)
        channel.queue_delete(queue)
