"""Executors that grow too large are replaced, and only the job that made one grow fails."""

from penstock import OutOfMemory

from storage.workers import ModelStatus
from tests.farm.harness import Farm, submit_all


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
