"""Rows of a table pushed as one message, by whom they are run, and what lies in the object store afterwards."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection

from models import columns
from storage.objects import Objects, open_objects
from tasks import topology
from tasks.message import Lane, Message, Shard, new_id
from tests.farm.harness import Farm
from tests.workers import tables
from tests.workers.tables import Told

BATCH = 8
#: Slices between the first and the last of a shard, and what each takes, seconds.
SLICES, BETWEEN_S = 20, 0.05


class Shards:
    """Puts rows into the farm's object store and their message into its queue."""

    def __init__(self, farm: Farm, folder: str) -> None:
        self._farm = farm
        self.tenant = "local" if farm.settings.embedded else "acme"
        self.objects: Objects = open_objects(farm.settings.objects)
        self._prefix = f"{self.tenant}/tests/{folder}"

    def push(self, *words: str, lane: Lane = "low", **more: Any) -> str:
        """A shard of `trouble`; the job's id."""
        id = new_id()
        tables.put(self.objects, tables.table(100, ids=True, do=list(words)), f"{self._prefix}/{id}.in")
        shard = Shard(f"{self._prefix}/{id}.in", f"{self._prefix}/out/{id}")
        message = tables.message(
            "trouble", id=id, rows=len(words), priority=lane, tenant=self.tenant, shard=shard, **more
        )  # fmt: skip
        self.publish(message)
        return id

    def publish(self, message: Message) -> None:
        exchange = "" if self._farm.settings.embedded else "penstock.jobs"
        with Connection(self._farm.settings.queue_url) as connection, connection.channel() as channel:
            content = {"content_type": "application/json", "content_encoding": "utf-8"}
            body = channel.prepare_message(message.encode(), **content)
            channel.basic_publish(body, exchange=exchange, routing_key=message.queue)

    def depth(self, lane: Lane) -> int:
        with Connection(self._farm.settings.queue_url) as connection:
            return topology.depth(connection, f"cpu.trouble.1.{lane}")

    def ended(self, id: str) -> Any:
        def job() -> Any:
            found = self._farm.jobs.get(id)
            return found if found and found.terminal else None

        return self._farm.until(job, "the shard has ended", 60)

    def told(self, id: str) -> Told:
        job = self.ended(id)
        assert job.status == "succeeded", job.error
        return tables.told(self.objects, job.outputs)

    def outputs(self, id: str) -> list[str]:
        return list(self.objects.keys(f"{self._prefix}/out/{id}"))


@pytest.fixture
def shards(farm: Farm, request: pytest.FixtureRequest) -> Iterator[Shards]:
    made = Shards(farm, request.node.name.partition("[")[0])
    yield made
    made.objects.delete_prefix(f"{made.tenant}/tests/")


def running(farm: Farm, id: str) -> bool:
    job = farm.jobs.get(id)
    return job is not None and job.status == "running"


def test_shard_is_run_and_its_rows_are_counted(farm: Farm, shards: Shards) -> None:
    with farm.http() as http:
        before = http.get("/v1/models/trouble").json()["statistics"]
        words = [f"word {n}" for n in range(20)]
        told = shards.told(shards.push(*words[:7], "invalid", *words[8:]))
        assert told.table["out:did"].to_pylist() == [f'"{word}"' for word in words if word != "word 7"]
        assert told.table["row"].to_pylist() == [n for n in range(100, 120) if n != 107]
        assert [(one.row, one.custom_id, one.code) for one in told.failures] == [(107, "id-107", "invalid_input")]
        assert (told.result["rows"], told.result["failed"]) == (19, 1)

        def counted() -> bool:
            after = http.get("/v1/models/trouble").json()["statistics"]
            return bool(after["rows"] == before["rows"] + 20)

        farm.until(counted, "its rows are counted")


def test_job_runs_while_a_shard_waits_for_its_next_slice(farm: Farm, shards: Shards, tmp_path: Path) -> None:
    first, last = tmp_path / "first", tmp_path / "last"
    # Each of the slices in between lasts a while: the job is in the worker's hands before the last of them.
    between = [f"sleep {BETWEEN_S}", *["a"] * (BATCH - 1)] * SLICES
    words = [f"hold {first}", *["a"] * (BATCH - 1), *between, f"wait {last}", "b"]
    shard = shards.push(*words)
    farm.until((tmp_path / "first.began").exists, "its first micro-batch runs")
    with farm.client() as client:
        job = client.jobs.submit("trouble", {"do": "between"})
        farm.until(lambda: shards.depth("normal") == 0, "the job has left its queue")
        first.touch()
        assert client.jobs.wait(job, timeout_s=20).outputs == {"did": ["between"]}
        assert running(farm, shard)
    last.touch()
    assert shards.told(shard).result["rows"] == len(words)


def test_shard_whose_worker_is_killed_is_run_again_by_the_next(farm: Farm, shards: Shards, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    shard = shards.push(*["a"] * BATCH, f"hold {gate}")
    farm.until((tmp_path / "gate.began").exists, "it runs")
    farm.kill("worker-cpu")
    gate.touch()
    farm.start("worker-cpu")
    told = shards.told(shard)
    assert told.table.num_rows == BATCH + 1
    job = farm.jobs.get(shard)
    assert job is not None
    assert job.attempt == 2


def test_worker_that_stops_gives_its_shard_back_uncharged(farm: Farm, shards: Shards, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    shard = shards.push(f"hold {gate}", *["sleep 0.02"] * (20 * BATCH))
    farm.until((tmp_path / "gate.began").exists, "it runs")
    gate.touch()
    farm.stop("worker-cpu")
    job = farm.jobs.get(shard)
    assert job is not None
    # Or it was faster.
    assert job.status in ("queued", "succeeded")
    farm.start("worker-cpu")
    assert shards.told(shard).result["rows"] == 20 * BATCH + 1
    job = farm.jobs.get(shard)
    assert job is not None
    assert (job.losses, job.failures) == (0, 0)


def test_row_that_kills_fails_the_shard_and_no_job_beside_it(farm: Farm, shards: Shards) -> None:
    shard = shards.push("a", "die")
    with farm.client() as client:
        assert client.run("trouble", {"do": "beside"}) == {"did": ["beside"]}
    job = shards.ended(shard)
    assert (job.status, json.loads(job.error)["code"]) == ("failed", "worker_lost")
    assert shards.outputs(shard) == []


def test_canceled_shard_ends_between_its_slices(farm: Farm, shards: Shards, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    # So many micro-batches that it is canceled before it is through with them.
    shard = shards.push(f"hold {gate}", *["sleep 0.05"] * (40 * BATCH))
    farm.until((tmp_path / "gate.began").exists, "it runs")
    job = farm.jobs.get(shard)
    assert job is not None
    farm.jobs.cancel(job)
    gate.touch()
    assert shards.ended(shard).status == "canceled"
    assert shards.outputs(shard) == []


def test_worker_holds_few_shards_and_leaves_the_rest_to_others(farm: Farm, shards: Shards, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    ids = [shards.push(f"hold {gate}") for _ in range(9)]
    farm.until((tmp_path / "gate.began").exists, "the first runs")

    def left() -> bool:
        with Connection(farm.settings.queue_url) as connection:
            return topology.depth(connection, "cpu.trouble.1.low") >= 6

    farm.until(left, "most lie in the queue")
    gate.touch()
    assert [shards.told(id).result["rows"] for id in ids] == [1] * 9
    with farm.client() as client:
        assert client.run("trouble", {"do": "as before"}, priority="low") == {"did": ["as before"]}


def test_shard_of_a_pipeline_is_refused_in_words(farm: Farm, shards: Shards) -> None:
    id = new_id()
    key = f"{shards.tenant}/tests/none"
    message = tables.message("phrases", id=id, tenant=shards.tenant, shard=Shard(key, key + "-out"))
    shards.publish(message)
    job = shards.ended(id)
    problem = json.loads(job.error)
    assert (job.status, problem["code"]) == ("failed", "invalid_input")
    assert "'phrases' is a pipeline" in problem["detail"]


def test_rows_file_of_another_layout_fails_with_the_reason(shards: Shards) -> None:
    id = new_id()
    key = f"{shards.tenant}/tests/wrong.arrow"
    tables.put(shards.objects, tables.table(text=["a"]), key)
    shards.publish(tables.message("trouble", id=id, tenant=shards.tenant, shard=Shard(key, key + "-out")))
    job = shards.ended(id)
    assert f"has no column '{columns.IN}do'" in json.loads(job.error)["detail"]
