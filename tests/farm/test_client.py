"""The client's whole repertoire against a farm with all its processes."""

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import pytest
from penstock import AsyncPenstock, InvalidInput, ModelError, PenstockError

from storage.multipart import SMALLEST_PART
from tests.farm.harness import Farm

ROW = [float(n) for n in range(16)]


def test_a_map_keeps_the_order_and_the_errors_of_its_items(farm: Farm) -> None:
    items: list[Any] = [{"x": [[n, *ROW[1:]]]} for n in range(500)]
    items[7], items[9] = {"x": "no numbers"}, {"y": 1}
    with farm.client() as client:
        outcomes = list(client.map("echo", items, concurrency=100, return_errors=True))
    assert [n for n, outcome in enumerate(outcomes) if isinstance(outcome, PenstockError)] == [7, 9]
    assert isinstance(outcomes[7], InvalidInput)
    assert [outcome["y"][0][0] for n, outcome in enumerate(outcomes) if n not in (7, 9)] == [
        n for n in range(500) if n not in (7, 9)
    ]


def test_a_failed_job_ends_a_map_and_its_events(farm: Farm) -> None:
    with farm.client() as client:
        with pytest.raises(ModelError):
            list(client.map("trouble", [{"do": ["raise"]}], max_attempts=1))
        job = client.jobs.submit("trouble", {"do": ["raise"]}, max_attempts=1)
        assert [*client.jobs.events(job)][-1].job.status == "failed"


def test_a_file_in_parts_and_jobs_by_the_asynchronous_client(
    farm: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    content = bytes(range(256)) * (SMALLEST_PART // 256) * 2 + b"the end"
    (tmp_path / "large").write_bytes(content)

    async def use() -> None:
        async with AsyncPenstock(farm.url, farm.key or None) as client:
            stored = await client.objects.upload(tmp_path / "large", part_bytes=SMALLEST_PART)
            assert stored.sha256 == hashlib.sha256(content).hexdigest()
            assert (await client.objects.download(stored.id, tmp_path / "back")).read_bytes() == content
            one, other = await asyncio.gather(client.run("echo", {"x": ROW}), client.run("echo", {"x": ROW}))
            assert one == other == {"y": [ROW]}
            job = await client.jobs.submit("echo", {"x": ROW})
            events = [event async for event in client.jobs.events(job)]
            assert events[-1].job.status == "succeeded"
            outcomes = [outputs async for outputs in client.map("echo", [ROW] * 50, as_numpy=True)]
            assert {outputs["y"].dtype.name for outputs in outcomes} == {"float32"}

    asyncio.run(use())
