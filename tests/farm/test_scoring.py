"""Tables scored by a whole farm: every row once and in its order, whatever dies."""

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from penstock import Penstock

from storage import keys
from tests.farm.harness import Farm

WIDTH = 16


def upload(farm: Farm, client: Penstock, folder: Path, rows: int) -> str:
    """Parquet rows of the echo model; row n is n, n, …"""
    x = pa.array([[float(n)] * WIDTH for n in range(rows)], pa.list_(pa.float32()))
    file = folder / "rows.parquet"
    pq.write_table(pa.table({"x": x, "custom_id": [f"r{n}" for n in range(rows)]}), file)
    return client.objects.upload(file).id


@pytest.fixture
def client(farm: Farm) -> Iterator[Penstock]:
    with farm.client() as client:
        yield client


def test_table_is_scored_and_merged_in_its_order(farm: Farm, client: Penstock, tmp_path: Path) -> None:
    made = client.scorings.create(
        "echo", upload(farm, client, tmp_path, 5000), format="parquet", output_format="jsonl", shard_rows=512
    )
    done = client.scorings.wait(made, timeout_s=60)
    assert (done.status, done.rows.total, done.rows.done, done.rows.failed) == ("completed", 5000, 5000, 0)
    client.scorings.download(done, tmp_path / "out.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["custom_id"] for line in lines] == [f"r{n}" for n in range(5000)]
    assert all(line["y"] == [float(n)] * WIDTH for n, line in enumerate(lines))
    tenant = "local" if farm.settings.embedded else "acme"
    assert [id for id in farm.redis.zrange(keys.tenant_jobs(tenant), 0, -1) if id.startswith(b"scr_")] == []


@pytest.mark.timeout(300)
def test_scoring_outlives_every_kill_of_its_driver(farm: Farm, client: Penstock, tmp_path: Path) -> None:
    uploaded = upload(farm, client, tmp_path, 20_000)
    files = []
    for kills in (0, 2):
        made = client.scorings.create("echo", uploaded, format="parquet", shard_rows=512)
        for kill in range(kills):
            farm.until(lambda: client.scorings.get(made).rows.done > kill * 6000, "the scoring goes on")  # noqa: B023
            farm.kill("orchestrator")
            farm.start("orchestrator")
        done = client.scorings.wait(made, timeout_s=90)
        assert (done.status, done.rows.done, done.rows.failed) == ("completed", 20_000, 0)
        files.append(client.scorings.download(done, tmp_path / f"{kills}.parquet").read_bytes())
    assert files[0] == files[1]


def test_cancel_keeps_what_is_done_and_leaves_nothing_behind(farm: Farm, client: Penstock, tmp_path: Path) -> None:
    made = client.scorings.create("echo", upload(farm, client, tmp_path, 40_000), format="parquet", shard_rows=64)
    farm.until(lambda: client.scorings.get(made).rows.done > 0, "rows are done")
    client.scorings.cancel(made)
    done = client.scorings.wait(made, timeout_s=30)
    assert (done.status, done.output is not None) == ("canceled", True)
    table = pq.read_table(client.scorings.download(done, tmp_path / "out.parquet"))
    assert table.num_rows == done.rows.done < 40_000
    # Of two shards under way the later one may be the one that was done.
    numbers = [int(name.removeprefix("r")) for name in table.column("custom_id").to_pylist()]
    assert numbers == sorted(set(numbers))
    assert not farm.redis.keys(f"penstock:job:{made.id}*")
