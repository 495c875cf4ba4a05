"""Memory of executors: those that grow too large are replaced, and an unloaded model gives all of it back."""

import shutil
from collections.abc import Iterator

import psutil
import pytest
from penstock import Job, OutOfMemory, Penstock, UnknownModel

from storage.deployments import Deployments
from storage.workers import ModelStatus
from tests.farm.harness import Farm, submit_all
from tests.models.layers import graph

HEAVY = """\
name: heavy
runtime: onnx
inputs: [{name: x, datatype: FP32, shape: [-1, 1024]}]
outputs: [{name: y, datatype: FP32, shape: [-1, 1024]}]
instances: 2
"""


def tree_mib(farm: Farm) -> float:
    """Proportional memory of the worker and all its processes."""
    worker = psutil.Process(farm.processes["worker-cpu"].pid)
    return sum(one.memory_full_info().pss for one in [worker, *worker.children(recursive=True)]) / 2**20


@pytest.fixture
def heavy(farm: Farm) -> Iterator[None]:
    """A model of 128 MiB of weights, not in the repository yet when the test begins."""
    made = farm.settings.models / ".heavy"
    graph(made / "1", layers=32)
    (made / "model.yaml").write_text(HEAVY)
    yield
    for folder in (made, farm.settings.models / "heavy"):
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.usefixtures("heavy")
def test_unloaded_model_gives_all_its_memory_back(farm: Farm) -> None:
    def served() -> list[ModelStatus]:
        return [one for worker in farm.workers.all() for one in worker.models if one.model == "heavy"]

    before = tree_mib(farm)
    (farm.settings.models / ".heavy").rename(farm.settings.models / "heavy")
    farm.until(lambda: [one for one in served() if one.executors == 2], "the model is loaded")
    with farm.client() as client:
        job = farm.until(lambda: submitted(client), "the gateway knows the model")
        assert job is not None
        assert client.jobs.wait(job, timeout_s=30).status == "succeeded"
    loaded = tree_mib(farm)
    Deployments(farm.redis).change("heavy", lambda wish: wish.unload("1"))
    farm.until(lambda: not served(), "the model is unloaded")
    assert loaded - before > 128
    assert tree_mib(farm) - before < 8


def submitted(client: Penstock) -> Job | None:
    try:
        return client.jobs.submit("heavy", {"x": [[0.5] * 1024]})
    except UnknownModel:
        return None


def trouble(farm: Farm) -> ModelStatus:
    """The model that does every bad thing, as its worker describes it."""
    return next(status for worker in farm.workers.all() for status in worker.models if status.model == "trouble")


def test_job_that_takes_far_too_much_memory_fails_and_its_neighbours_succeed(farm: Farm) -> None:
    doing = [["a"], ["keep 900", "hang"], ["b"]]
    with farm.client() as client:
        jobs = submit_all(client, ({"model": "trouble", "inputs": {"do": what}} for what in doing))
        done = [client.jobs.wait(job, timeout_s=60) for job in jobs]
    assert [job.status for job in done] == ["succeeded", "failed", "succeeded"]
    assert isinstance(done[1].error, OutOfMemory)
    assert "limits.memory_mb is 400" in str(done[1].error)
    assert [(job.attempt, job.worker_losses) for job in done] == [(1, 0)] * 3


def test_executor_that_grew_too_large_is_replaced_after_its_batch(farm: Farm) -> None:
    before = trouble(farm).restarts
    with farm.client() as client:
        kept = client.jobs.submit("trouble", {"do": "keep 450"})
        assert client.jobs.wait(kept, timeout_s=30).status == "succeeded"

        def replaced() -> bool:
            assert client.jobs.wait(client.jobs.submit("trouble", {"do": "w"}), timeout_s=30).status == "succeeded"
            return trouble(farm).restarts > before

        farm.until(replaced, "the executor is replaced")
        with farm.http() as http:
            (worker,) = http.get("/v1/models/trouble").json()["workers"]
    assert worker["restarts"] == before + 1
    assert "limits.memory_mb is 400" in worker["restart_reason"]
